"""Short trials of the student itself under each of several teachers; the better half goes on to twice as many texts.

Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): of M teachers all teach for a few texts, the half
whose students have the lower validation loss for twice as many, and so on until two are left. There an arm goes on from
where it stood; here every trial begins anew, so that the learning rate of each has fallen to its end when it is judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tutelage.artifacts.corpus import Corpus, Split, evenly
from tutelage.artifacts.network import Network
from tutelage.beginning import Beginning
from tutelage.errors import TrainingError
from tutelage.folder import RunFolder
from tutelage.progress import Silent
from tutelage.recipe import Recipe, StudentRecipe
from tutelage.student import build, distil, matching, stages
from tutelage.student.linear import Array
from tutelage.teacher import signals as recording
from tutelage.training import supervised

# Texts of the last round, of which there may be fewer, and the least of the first.
_MOST, _LEAST = 4096, 256
STAGE = "pilots"
# Of the student's recipe, what a trial takes no notice of.
_LEFT_OUT = (
    "patience",
    "growth",
    "wide",
    "select",
    "augment",
    "assistant",
    "embeddings",
    "curriculum",
    "curriculum_order",
    "curriculum_pacing",
    "curriculum_start",
    "curriculum_end",
)


@dataclass(frozen=True)
class Pilot:
    """The last trial that a teacher's student had."""

    loss: Array | None
    """Its label losses on N validation rows, calibrated (N,); None where its training failed."""
    texts: int
    """How many texts it read, each once."""
    failed: str = ""
    """What its training failed of."""

    @property
    def mean(self) -> float:
        """The mean of its losses; infinite where there are none."""
        return math.inf if self.loss is None else float(self.loss.mean())

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {"loss": None if self.loss is None else self.loss.tolist(), "texts": self.texts, "failed": self.failed}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Pilot:
        """The inverse of `as_dict`."""
        loss = kept["loss"]
        return cls(None if loss is None else np.array(loss), kept["texts"], kept.get("failed", ""))


def rounds(several: int, texts: int) -> list[tuple[int, int]]:
    """How many of several teachers take part in each round, and how many of all `texts` each of their students reads.

    The last round has two teachers and as many texts as there are, up to a limit. The one before has twice the teachers
    and half the texts, and so on; a round that would read no more than the one before is left out, so that with few
    texts more than two may be left to the end. One teacher alone is not tried.
    """
    count = math.ceil(math.log2(several))
    most = min(_MOST, texts)
    found: dict[int, int] = {}
    for number in range(count):
        found.setdefault(min(most, max(_LEAST, most >> (count - 1 - number))), math.ceil(several / 2**number))
    return [(teachers, read) for read, teachers in found.items()]


def halve(several: int, texts: int, trial: Callable[[int, int], Array]) -> list[Pilot]:
    """The last trial of each of several teachers.

    `trial` gives the validation losses (N,) of the student of a teacher, by its number, after so many texts. Of equal
    ones the first goes on. A teacher whose student's training fails has lost. Raises its `TrainingError` when all have.
    """
    found: dict[int, Pilot] = {}
    going, failures = list(range(several)), []
    for teachers, read in rounds(several, texts):
        if len(going) < 2:
            break  # there is no other left
        going = sorted(going, key=lambda one: found[one].mean if found else 0.0)[:teachers]
        for one in sorted(going):
            try:
                found[one] = Pilot(trial(one, read), read)
            except TrainingError as error:
                found[one] = Pilot(None, read, error.given)
                failures.append(error)
        going = [one for one in going if found[one].loss is not None]
    if failures and all(one.loss is None for one in found.values()):
        raise failures[-1]
    return [found[one] for one in range(several)]


@dataclass(frozen=True)
class Trials:
    """Where the students of one run's candidates are tried."""

    recipe: Recipe
    folder: RunFolder
    corpus: Corpus

    @cached_property
    def splits(self) -> list[Split]:
        """What students may read, as an epoch draws it."""
        first, *others = self.corpus.read
        return [first.take(first.epoch(0)) if first.mixture else first, *others]

    @property
    def texts(self) -> int:
        """How many there are to read."""
        return sum(map(len, self.splits))

    def loss(self, number: int, teacher: Network, texts: int) -> Array:
        """Validation losses (N,) of the student of teacher `number` after `texts` texts, each read once.

        It is the student that the recipe would make of this teacher, but for what `lesson` leaves out; a search has
        many, and the default stands for them. Killed, its training goes on where it stood.
        """
        settings = lesson(self.recipe.student)
        full, shape = build.shape_of(teacher.model.config), build.choose(settings, teacher.model.config)
        plan = matching.plan(settings, shape, full)
        # Its vocabulary is that of all texts, however many are read here.
        plain = self.recipe.model_copy(update={"student": settings})
        student = Beginning(plain, teacher, self.corpus, self.corpus.read, Silent()).student(shape)
        some = evenly(self.splits, texts)
        wanted = replace(plan.recording(teacher.task.width, full.width), precision=self.recipe.teacher.precision)
        told = recording.record(teacher, some, wanted, folder=self.folder.signals, progress=Silent())
        validation = self.corpus["validation"]
        distil.distil(
            student,
            distil.transfer_set(student, some, told),
            told,
            validation,
            settings,
            seed=self.recipe.seed,
            folder=self.folder.training / STAGE / f"{number}, {texts} texts",
            progress=Silent(),
            plan=plan,
        )
        outputs = student.outputs(student.tokenize(validation.texts())).astype(np.float64)
        return supervised.calibrated(student, outputs, validation.targets)[1]


def lesson(settings: StudentRecipe) -> StudentRecipe:
    """How a student learns on trial: whatever any stage weighs, all at once, for one epoch, the texts by chance.

    What is left out is chosen later (`balance: auto`), comes behind the layers (`wide`), concerns the texts (`select`,
    `augment`, `curriculum`), stands between teacher and student (`assistant`), or makes it small (`embeddings`).
    """
    default, parts = type(settings).model_fields, stages.of(settings.training())
    weights: dict[str, Any] = {term: max(getattr(part, term) for part in parts) for term in StudentRecipe.TERMS}
    weights["alpha"] = max(part.alpha for part in parts if part.prediction)
    plain = {key: default[key].default for key in _LEFT_OUT}
    return parts[-1].model_copy(update={**weights, **plain, "epochs": 1, "balance": "given"})
