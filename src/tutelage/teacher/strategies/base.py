"""What a strategy is: which weights of a teacher learn, from what, and what becomes of those it adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network
from tutelage.progress import Progress
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.tasks import Task
from tutelage.training import regular, supervised, until
from tutelage.training.epochs import Epochs
from tutelage.training.regime import Regime

History = list[dict[str, float]]


@dataclass(frozen=True)
class Plan:
    """What a strategy needs to know of the training to come."""

    settings: TeacherRecipe
    seed: int
    task: Task
    targets: NDArray[np.float64]
    """(N,) of the training texts."""
    fitted: bool = False
    """Whether the model's head was trained before."""

    @property
    def steps(self) -> int:
        """Optimizer steps in all, unless patience ends it sooner."""
        return self.settings.epochs * -(-len(self.targets) // self.settings.batch_size)


@dataclass(frozen=True)
class Prepared:
    """A model whose weights are frozen, added or left as its strategy says."""

    regime: Regime = field(default_factory=Regime)
    merge: Callable[[], None] = lambda: None
    """Fold what was added into the model, which says the same then; in place."""
    note: str = ""
    """What else there is to say of it, one sentence."""


@dataclass(frozen=True)
class Study:
    """A model that was prepared, and what it learns from."""

    network: Network
    train: Split
    validation: Split
    settings: TeacherRecipe
    prepared: Prepared
    seed: int
    folder: Path
    """Of checkpoints."""
    progress: Progress
    title: str = "Fine-tuning the teacher"
    epochs: Epochs | None = None
    """Keeps the weights of each, where there is to be a choice among them."""


def from_labels(study: Study) -> History:
    """Learn each text's label, as nearly all strategies do; calibrated on validation."""
    settings, task = study.settings, study.network.task
    state = supervised.fit_labels(
        study.network,
        study.train,
        study.validation,
        settings,
        title=study.title,
        seed=study.seed,
        folder=study.folder,
        progress=study.progress,
        regime=study.prepared.regime,
        goal=until.goal(settings.until, task),
        lesson=regular.lesson(settings, task, study.train.targets[study.train.epoch(0)]),
        epochs=study.epochs,
    )
    return state.history


@dataclass(frozen=True)
class Strategy:
    """One way to fine-tune."""

    name: str
    title: str
    trains: str
    """What learns, as a phrase; the head does in every strategy."""
    reason: str
    """When to choose it, one sentence."""
    source: str
    """The paper, or nothing."""
    merges: str
    """What becomes of added weights; empty where none are added, or they stay."""
    obstacle: Callable[[Any], str]
    """Why a model cannot take it, as a phrase; empty when it can."""
    prepare: Callable[[Any, Plan], Prepared]
    """Make a model ready, in place. Raises `ModelError` when the settings do not fit the model, `DataError` when the
    texts do not."""
    refuse: Callable[[Any, TeacherRecipe], None] = lambda _, __: None
    """Raise `ModelError` when the settings cannot be met by a model, before anything is trained."""
    learn: Callable[[Study], History] = from_labels
    """Train a prepared model in place, resumably; returns what was noted of every epoch."""
    reads: Callable[[int, int], int] = lambda rows, _: rows
    """Texts that are read in an epoch, of (training texts, batch size)."""
    averages: bool = False
    """It does far better with the mean of all tokens, where the model can have that and its head is new."""
    in_front: int = 0
    """How many vectors a model reads in front of a text afterwards, which students do not."""
    only_classes: bool = False
    """It needs texts to be alike or not, which numbers do not say."""
