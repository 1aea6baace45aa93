"""From easy texts to hard ones: the share of the texts that may be drawn grows while the student learns.

Competence-based curriculum (Platanios et al. 2019, arXiv 1903.09848). With d the share of all steps that are done,
s the share to start with, e the share of the steps after which everything may be drawn, and t = d / e:

    linear    s + (1 - s) t
    root      sqrt(s^2 + (1 - s^2) t)         as many new texts a step as there is room for: fewer and fewer
    step      s, then all at once             single step pacing (Hacohen and Weinshall 2019, arXiv 1904.03626)

Rows are drawn at random from the easiest ones, or, for the control experiment, from the hardest (`hard-first`). An
epoch has the steps and batch sizes that it would have without, and one that begins after d = e is the very same. What
is drawn follows from the seed and the number of the step alone, so that a resumed training draws the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.artifacts.batch import plan
from tutelage.artifacts.network import Network
from tutelage.errors import RecipeError
from tutelage.recipe import StudentRecipe
from tutelage.tasks import Task
from tutelage.training import supervised

Rows = NDArray[np.int64]
Values = NDArray[np.float64]

# Rows are drawn for some batches at once, so that texts of similar length still meet: at most so many, and few enough
# that the share grows in about twenty steps.
_MOST_AT_ONCE, _RISES = 50, 20
# Keeps the draws apart from those of the batches.
_DRAW, _TIES = 1, 2


@dataclass(frozen=True)
class Known:
    """What is known of N texts before the student learns from them."""

    student: Network
    lengths: Rows
    """(N,): tokens of each text."""
    targets: Values
    """(N,), NaN where there is no label."""
    said: Callable[[], NDArray[np.float32]]
    """What the teacher said, (N, K), in the user's unit."""


def _length(known: Known) -> Values:
    """More tokens are harder."""
    return known.lengths.astype(np.float64)


def _entropy(known: Known) -> Values:
    """The entropy of the teacher's probabilities: 0 where it is sure."""
    probabilities = known.student.task.predict(known.said())
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(1))


def _loss(known: Known) -> Values:
    """The teacher's loss against the label; a text without a label is as hard as the median."""
    centre, spread = supervised.units(known.student)
    labelled = ~np.isnan(known.targets)
    outputs = torch.from_numpy((known.said() - centre) / spread).float()[torch.from_numpy(labelled)]
    targets = supervised.standardised(known.student, known.targets[labelled])
    losses = known.student.task.label_loss(outputs, targets).double().numpy()
    return _filled(labelled, losses)


def _filled(where: NDArray[np.bool_], values: Values) -> Values:
    result = np.full(len(where), np.median(values) if len(values) else 0.0)
    result[where] = values
    return result


MEASURES: dict[str, Callable[[Known], Values]] = {"confidence": _entropy, "length": _length, "loss": _loss}


def refuse_unfit(settings: StudentRecipe, task: Task | type[Task]) -> None:
    """Raise `RecipeError` when the teacher's answers cannot say how hard a text is."""
    if settings.curriculum == "confidence" and task.outputs != "scores":
        raise RecipeError(
            "the recipe",
            [
                f"student.curriculum: 'confidence' does not fit {task.name}, whose head gives {task.outputs} and no "
                "probabilities; these do: length, loss"
            ],
        )


def competence(settings: StudentRecipe, done: float) -> float:
    """The share of the texts, above 0 and at most 1, that may be drawn when a share `done` of all steps is taken."""
    start, time = settings.curriculum_start, done / settings.curriculum_end
    if time >= 1:
        return 1.0
    paces = {
        "linear": start + (1 - start) * time,
        "root": math.sqrt(start**2 + (1 - start**2) * time),
        "step": start,
    }
    return paces[settings.curriculum_pacing]


def ranked(known: Known, settings: StudentRecipe, seed: int) -> Rows:
    """(N,): row numbers in the order in which they may be drawn; equally hard ones in no order."""
    assert settings.curriculum is not None
    difficulty = MEASURES[settings.curriculum](known)
    if settings.curriculum_order == "hard-first":
        difficulty = -difficulty
    ties = np.random.default_rng([seed, _TIES]).permutation(len(difficulty))
    return np.lexsort((ties, difficulty)).astype(np.int64)


def batches(known: Known, settings: StudentRecipe, seed: int) -> Callable[[int], list[Rows]]:
    """The plan of a training that follows the recipe's curriculum, which there must be."""
    lengths, size, order = known.lengths, settings.batch_size, ranked(known, settings, seed)
    steps = len(plan(lengths, batch_size=size, seed=seed, epoch=0))
    total = steps * settings.epochs
    # Never more than may be drawn at first: no text stands twice in one batch.
    most = max(1, min(_MOST_AT_ONCE, round(settings.curriculum_start * len(order)) // size))
    at_once = int(np.clip(settings.curriculum_end * total // _RISES, 1, most))

    def draw(step: int, count: int) -> Rows:
        """So many rows for the batches from this step on: none twice before all that may be drawn have been once."""
        some = order[: max(size, round(competence(settings, step / total) * len(order)))]
        random = np.random.default_rng([seed, _DRAW, step])
        rounds = [random.permutation(some) for _ in range(-(-count // len(some)))]
        return np.concatenate(rounds)[:count]

    def of_epoch(epoch: int) -> list[Rows]:
        begin = epoch * steps
        if competence(settings, begin / total) == 1:
            return plan(lengths, batch_size=size, seed=seed, epoch=epoch)
        found: list[Rows] = []
        for first in range(0, len(order), at_once * size):
            step = begin + first // size
            drawn = draw(step, min(at_once * size, len(order) - first))
            found += [drawn[rows] for rows in plan(lengths[drawn], batch_size=size, seed=seed, epoch=step)]
        return found

    return of_epoch
