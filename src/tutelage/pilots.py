"""Short trials of the student itself under each of several teachers; the better half goes on to twice as many texts.

Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): of M teachers all teach for a few texts, the half
whose students have the lower validation loss for twice as many, and so on until one is left. There an arm goes on from
where it stood; here every trial begins anew, so that the learning rate of each has fallen to its end when it is judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tutelage.artifacts.corpus import Corpus, evenly
from tutelage.artifacts.network import Network
from tutelage.beginning import Beginning
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


@dataclass(frozen=True)
class Pilot:
    """The last trial that a teacher's student had."""

    loss: Array
    """Its label losses on N validation rows, calibrated (N,)."""
    texts: int
    """How many texts it read, each once."""


def rounds(several: int, texts: int) -> list[tuple[int, int]]:
    """How many of several teachers take part in each round, and how many of all `texts` each of their students reads.

    The last round has two teachers, or one if there is no other, and as many texts as there are, up to a limit. The
    one before has twice the teachers and half the texts, and so on; where that would be too few, rounds are left out.
    """
    count = max(1, math.ceil(math.log2(several)))
    most = min(_MOST, texts)
    found: dict[int, int] = {}
    for number in range(count):
        found.setdefault(min(most, max(_LEAST, most >> (count - 1 - number))), math.ceil(several / 2**number))
    return [(teachers, read) for read, teachers in found.items()]


def halve(several: int, texts: int, trial: Callable[[int, int], Array]) -> list[Pilot]:
    """The last trial of each of several teachers.

    `trial` gives the validation losses (N,) of the student of a teacher, by its number, after so many texts. Of equal
    ones the first goes on.
    """
    found: dict[int, Pilot] = {}
    going = list(range(several))
    for teachers, read in rounds(several, texts):
        going = sorted(going, key=lambda one: float(found[one].loss.mean()) if found else 0.0)[:teachers]
        found |= {one: Pilot(trial(one, read), read) for one in sorted(going)}
    return [found[one] for one in range(several)]


@dataclass(frozen=True)
class Trials:
    """Where the students of one run's candidates are tried."""

    recipe: Recipe
    folder: RunFolder
    corpus: Corpus

    @property
    def texts(self) -> int:
        """How many there are to read."""
        return sum(map(len, self.corpus.read))

    def loss(self, number: int, teacher: Network, texts: int) -> Array:
        """Validation losses (N,) of the student of teacher `number` after `texts` texts, each read once.

        It is the student that the recipe would make of this teacher, and follows what the recipe says; a search has
        many, and the default stands for them. Killed, it goes on where it stood.
        """
        settings = lesson(self.recipe.student)
        full, shape = build.shape_of(teacher.model.config), build.choose(self.recipe.student, teacher.model.config)
        plan = matching.plan(settings, shape, full)
        # Its vocabulary is that of all texts, however many are read here.
        student = Beginning(self.recipe, teacher, self.corpus, self.corpus.read, Silent()).student(shape)
        some = evenly(self.corpus.read, texts)
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
    """How a student learns on trial: as it will, all at once, for one epoch, in the order of chance."""
    once = {"epochs": 1, "stages": None, "growth": None, "curriculum": None, "balance": "given", "patience": None}
    return stages.together(settings.training()).model_copy(update=once)
