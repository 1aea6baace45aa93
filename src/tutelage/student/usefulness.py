"""Which unlabelled texts a student would learn most from.

Those of which it is least sure: what it knows already teaches it little. A linear model stands in for the student. It
learns in about a second what the teacher says of the training texts, so that the teacher need not read what is left
out; its own doubts, which are those of hard and of meaningless texts alike, could only be known after reading all.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Signals
from tutelage.errors import RecipeError
from tutelage.recipe import StudentRecipe
from tutelage.recipe_transfer import SelectRecipe
from tutelage.student import balance, linear
from tutelage.tasks import Task

Rows = NDArray[np.int64]


def choose(
    teacher: Network, train: Split, told: Signals | None, more: Split, settings: SelectRecipe, *, seed: int
) -> Rows:
    """The rows of `more` to take, in their order: a share of them, by what the recipe says.

    `told` is what the teacher says of `train`; None where lots are drawn.
    """
    count = max(round(settings.share * len(more)), 1) if len(more) else 0
    # By content: the same text has the same luck beside any others.
    lots = np.array([_lot(key.tobytes(), seed) for key in more.keys], dtype=np.uint64)
    doubts = uncertainty(teacher, train, told, more) if told is not None else np.zeros(len(more))
    return np.sort(np.lexsort((lots, -doubts))[:count]).astype(np.int64)


def uncertainty(teacher: Network, train: Split, told: Signals, more: Split) -> NDArray[np.float64]:
    """(M,): entropy of what a linear model says of `more`, taught what the teacher says of `train`."""
    task, some = teacher.task, balance.sample(len(train), teacher.task.width)
    keys = train.keys[some]
    said = balance.spoken(teacher, told.outputs(told.find(keys), keys))
    lesson = balance.lesson(StudentRecipe(), task, said, torch.full((len(some),), torch.nan))
    pupil = linear.taught(linear.read(teacher, teacher.tokenize(train.texts(some))), lesson, task.width)
    probabilities = task.predict(pupil.outputs(linear.read(teacher, teacher.tokenize(more.texts()))))
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(1))


def refuse_unfit(settings: StudentRecipe, task: Task | type[Task]) -> None:
    """Raise `RecipeError` when a model's answers cannot say how sure it is."""
    if settings.select is not None and settings.select.by == "uncertainty" and task.outputs != "scores":
        raise RecipeError(
            "the recipe",
            [
                f"student.select.by: 'uncertainty' does not fit {task.name}, whose head gives {task.outputs} and no "
                "probabilities; take random"
            ],
        )


def _lot(key: bytes, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8, key=f"select-{seed}".encode()).digest(), "little")
