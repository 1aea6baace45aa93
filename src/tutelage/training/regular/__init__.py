"""Everything against over-fitting that a recipe can ask for: one file each, and these tables of them.

    LABELS    how an answer is compared with its label    (loss of rows, strength, what is known) -> loss of rows
    PASSES    how a batch goes through the model          (turn, strength) -> loss of the batch, a sum
    WEIGHTS   what becomes of the weights                 (model, strength, which may shrink) -> regime

Each is named like its key in the recipe; nothing there (0, null) means off, and all are off by default. Formulas and
sources are in the files, when to choose which is in docs/guide/regularisation.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from tutelage.errors import RecipeError
from tutelage.recipe_training import LabelRecipe, TrainingRecipe
from tutelage.tasks import Task
from tutelage.training.regime import Regime, combined
from tutelage.training.regular import (
    class_weights,
    ema,
    fgm,
    focal,
    freelb,
    l1,
    label_smoothing,
    mixup,
    r_drop,
    swa,
)
from tutelage.training.regular.labels import Known, RowLoss
from tutelage.training.regular.turn import Turn


@dataclass(frozen=True)
class OfLabels:
    """A regulariser of how answers are compared with labels."""

    applied: Callable[[RowLoss, Any, Known], RowLoss]
    only_scores: bool = True
    """It asks for probabilities."""
    compares_rows: bool = False
    """A row's loss depends on the other rows of its batch."""


@dataclass(frozen=True)
class OfPasses:
    """A regulariser of how a batch goes through the model."""

    loss: Callable[[Turn, float], Tensor]
    cost: float
    """Work of a step against a plain one, where going back through a layer counts as two ways forward, or as one
    where only the gradient of the embedded tokens is wanted."""
    moves_tokens: bool = False
    """It asks for a gradient by the embedded tokens, so that everything above them must be computed."""


# In the order in which they are put around each other.
LABELS: dict[str, OfLabels] = {
    "label_smoothing": OfLabels(label_smoothing.applied),
    "focal": OfLabels(focal.applied),
    "class_weights": OfLabels(class_weights.applied),
    "mixup": OfLabels(mixup.applied, only_scores=False, compares_rows=True),
}

PASSES: dict[str, OfPasses] = {
    "r_drop": OfPasses(r_drop.loss, cost=2.0),
    "fgm": OfPasses(fgm.loss, cost=2.4, moves_tokens=True),
    "freelb": OfPasses(freelb.loss, cost=3.7, moves_tokens=True),
}

WEIGHTS: dict[str, Callable[[nn.Module, float, Callable[[str], bool]], Regime]] = {
    "l1": l1.regime,
    "ema": lambda model, decay, _: ema.regime(model, decay),
    "swa": lambda model, share, _: swa.regime(model, share),
}


@dataclass(frozen=True)
class Lesson:
    """How a training compares answers with labels."""

    rows: RowLoss
    compares_rows: bool = False


def lesson(settings: LabelRecipe, task: Task, targets: NDArray[np.float64]) -> Lesson:
    """The task's own loss of labels with what the recipe puts around it; `targets` (N,) are those of an epoch."""
    known = Known(task, targets)
    rows: RowLoss = task.label_loss
    asked = {name: entry for name, entry in LABELS.items() if getattr(settings, name)}
    for name, entry in asked.items():
        rows = entry.applied(rows, getattr(settings, name), known)
    return Lesson(rows, any(entry.compares_rows for entry in asked.values()))


def loss(turn: Turn, settings: TrainingRecipe) -> Tensor:
    """The loss of a batch, a sum over its rows, with as many passes as the recipe asks for."""
    for name, entry in PASSES.items():
        if strength := getattr(settings, name):
            return entry.loss(turn, strength)
    return turn.once()


def regime(model: nn.Module, settings: TrainingRecipe, decays: Callable[[str], bool] = lambda _: True) -> Regime:
    """What the recipe asks of the weights of a model that is about to learn; `decays` tells which may shrink."""
    found = [make(model, getattr(settings, name), decays) for name, make in WEIGHTS.items() if getattr(settings, name)]
    return combined(*found)


def cost(settings: TrainingRecipe) -> float:
    """Work of a step, against one without any regulariser."""
    return max((entry.cost for name, entry in PASSES.items() if getattr(settings, name)), default=1.0)


def moves_tokens(settings: TrainingRecipe) -> bool:
    """Whether the model must be computed from its embedded tokens on, however much of it is frozen."""
    return any(entry.moves_tokens for name, entry in PASSES.items() if getattr(settings, name))


def refuse_unfit(settings: LabelRecipe, task: Task | type[Task]) -> None:
    """Raise `RecipeError` with every regulariser that needs probabilities of a task that has none."""
    fitting = [name for name, entry in LABELS.items() if not entry.only_scores]
    problems = [
        f"teacher.{name}: it needs probabilities of classes, and the head of {task.name} gives {task.outputs}; "
        f"these fit: {', '.join([*fitting, *PASSES, *WEIGHTS])}"
        for name, entry in LABELS.items()
        if entry.only_scores and getattr(settings, name) and task.outputs != "scores"
    ]
    if problems:
        raise RecipeError("the recipe", problems)
