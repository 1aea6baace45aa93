"""Choose how a student learns from its teacher, by measuring: which loss, alpha and temperature, or no teacher at all.

Two rounds, the second of them costing about a quarter of the training itself:

1. Every way teaches a linear model over tokens and pairs. It has one optimum and takes a second, so that what differs
   is the lesson and nothing else.
2. The default, no distillation and the best of the first round teach the student itself, for one epoch on a third of
   the rows; the same start, rows and order for each.

A way is judged by the label loss of the validation rows after calibration, paired with the default's. Only one that is
better by more than a standard error of that difference takes its place: on a few hundred rows most differences are
noise, and the default is where the evidence points (docs/decisions/0006).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Signals
from tutelage.artifacts.wide import features
from tutelage.progress import Progress, Silent
from tutelage.recipe import StudentRecipe
from tutelage.student import linear, losses
from tutelage.student.distil import Transfer, distil
from tutelage.student.linear import Array
from tutelage.student.losses import LOSSES
from tutelage.student.matching import Plan
from tutelage.tasks import Task
from tutelage.training import supervised

_PILOT = 1 / 3  # share of the rows that a pilot learns from, for one epoch
_STRENGTH = 1.0
# The lessons of a linear model hardly change with more.
_MOST_ROWS = 20_000

DEFAULT, LABELS = "the teacher alone", "labels alone"


@dataclass(frozen=True)
class Way:
    """One way to learn."""

    name: str
    settings: Mapping[str, Any]
    """What it changes in the recipe."""


def ways(task: Task) -> list[Way]:
    """What is tried for a task, the default first; losses that the head cannot take are left out."""
    found = [
        Way(DEFAULT, {}),
        Way(LABELS, {"alpha": 0.0, "hidden": 0.0, "attention": 0.0, "relations": 0.0}),
        Way("half teacher, half labels", {"alpha": 0.5}),
    ]
    if task.outputs == "scores":
        found += [
            Way("temperature 2", {"temperature": 2.0}),
            Way("half and half, temperature 2", {"alpha": 0.5, "temperature": 2.0}),
        ]
    # DIST and standardised logits leave open how far apart scores are: a linear model that is held back falls to 0.
    others = ("logit-mse", "dkd")
    # DKD weighs the classes that are not the label against each other: with two there is one.
    least = {"dkd": 3}
    found += [
        Way(f"loss {name}", {"loss": name})
        for name in others
        if LOSSES[name].outputs == task.outputs and task.width >= max(LOSSES[name].least_outputs, least.get(name, 0))
    ]
    return found


@dataclass(frozen=True)
class Trials:
    """What ways to learn are tried on, before the training itself."""

    start: Callable[[], Network]
    """A student that has learned nothing yet, the same each time."""
    transfer: Transfer
    signals: Signals
    plan: Plan
    validation: Split
    settings: StudentRecipe
    seed: int
    folder: Path
    progress: Progress

    @property
    def task(self) -> Task:
        """What is learned, bound to its labels."""
        return self.start().task

    def screen(self) -> dict[str, Array]:
        """Label losses of the validation rows (N,) under a linear model that learned in each way."""
        student, transfer, validation = self.start(), self.transfer, self.validation
        task = student.task
        some = np.unique(np.linspace(0, len(transfer) - 1, min(len(transfer), _MOST_ROWS)).astype(np.int64))
        vocabulary, buckets = int(student.model.config.vocab_size), linear.buckets(task.width)
        counted = features(transfer.tokens.take(some), vocabulary=vocabulary, buckets=buckets)
        weights = linear.rarity(counted)
        rows = counted.multiply(weights).tocsr()
        judged = features(student.tokenize(validation.texts()), vocabulary=vocabulary, buckets=buckets)
        judged = judged.multiply(weights).tocsr()
        centre, spread = supervised.units(student)
        outputs = self.signals.outputs(transfer.signal_rows[some], transfer.keys[some])
        said = torch.from_numpy((outputs - centre) / spread).double()
        targets = supervised.standardised(student, transfer.targets[some]).double()
        found, candidates = {}, ways(task)
        with self.progress.bar("Comparing ways to learn, on a linear model", len(candidates)) as bar:
            for way in candidates:
                lesson = _lesson(self._with(way), task, said, targets)
                table, bias = linear.fit(rows, lesson, task.width, _STRENGTH)
                answers = (judged @ table + bias) * spread + centre
                found[way.name] = supervised.calibrated(student, answers, validation.targets)[1]
                bar.advance()
        return found

    def pilot(self, way: Way) -> Array:
        """Label losses of the validation rows (N,) under a student that learned in one way for a short while."""
        random = np.random.default_rng(self.seed)
        rows = np.sort(random.permutation(len(self.transfer))[: max(int(len(self.transfer) * _PILOT), 1)])
        student, short = self.start(), self._with(way, epochs=1, patience=None)
        distil(
            student,
            self.transfer.take(rows),
            self.signals,
            self.validation,
            short,
            seed=self.seed,
            folder=self.folder / way.name,
            progress=Silent(),
            plan=self.plan,
        )
        outputs = student.outputs(student.tokenize(self.validation.texts())).astype(np.float64)
        return supervised.calibrated(student, outputs, self.validation.targets)[1]

    def _with(self, way: Way, **more: Any) -> StudentRecipe:
        return self.settings.model_copy(update={**way.settings, **more})


def _lesson(
    settings: StudentRecipe, task: Task, said: torch.Tensor, targets: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    compute, alpha, temperature = losses.choose(settings.loss, task).compute, settings.alpha, settings.temperature
    known = ~targets.isnan()

    def lesson(outputs: torch.Tensor) -> torch.Tensor:
        total = alpha * temperature**2 * compute(outputs, said, targets, temperature)
        if alpha < 1:
            of_labels = torch.zeros_like(total)
            of_labels[known] = task.label_loss(outputs[known], targets[known])
            total = total + (1 - alpha) * of_labels
        return total

    return lesson


def choose(trials: Trials) -> tuple[Way, dict[str, Any]]:
    """The way to learn, and why."""
    known = ways(trials.task)
    default, labels, *others = known
    screened = trials.screen()
    finalists = [default, labels, min(others, key=lambda way: float(screened[way.name].mean()))]
    piloted = {}
    with trials.progress.bar("Trying ways to learn on the student", len(finalists)) as bar:
        for way in finalists:
            piloted[way.name] = trials.pilot(way)
            bar.advance()
    gains = {way.name: better(piloted[way.name], piloted[default.name]) for way in finalists[1:]}
    surely = [way for way in finalists[1:] if gains[way.name][0] > gains[way.name][1]]
    taken = max(surely, key=lambda way: gains[way.name][0], default=default)
    told = [f"{default.name} {piloted[default.name].mean():.4f}"]
    told += [f"{name} {piloted[name].mean():.4f} ({-gain:+.4f} ± {error:.4f})" for name, (gain, error) in gains.items()]
    return taken, {
        "what": "way to learn",
        "taken": taken.name,
        "why": f"validation loss after a short trial: {', '.join(told)}; on a linear model {finalists[2].name} was the "
        f"best of {len(others)} others",
        "figures": {
            "after_trial": {name: float(found.mean()) for name, found in piloted.items()},
            "linear": {name: float(found.mean()) for name, found in screened.items()},
            "gain": {name: gain for name, (gain, _) in gains.items()},
            "standard_error": {name: error for name, (_, error) in gains.items()},
        },
    }


def better(one: Array, other: Array) -> tuple[float, float]:
    """(mean, its standard error) of how much lower paired losses (N,) are than others."""
    difference: NDArray[np.float64] = other - one
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def cost(settings: StudentRecipe) -> float:
    """What the trials cost, in passes of the student over all rows."""
    return 0.0 if settings.balance == "given" else 3 * _PILOT
