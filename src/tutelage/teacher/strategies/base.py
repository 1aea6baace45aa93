"""What a strategy is: which weights of a teacher learn, and what becomes of those it adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tutelage.recipe import TeacherRecipe
from tutelage.training.regime import Regime


@dataclass(frozen=True)
class Plan:
    """What a strategy needs to know of the training to come."""

    settings: TeacherRecipe
    seed: int
    steps: int
    """Optimizer steps in all, unless patience ends it sooner."""


@dataclass(frozen=True)
class Prepared:
    """A model whose weights are frozen, added or left as its strategy says."""

    regime: Regime = field(default_factory=Regime)
    merge: Callable[[], None] = lambda: None
    """Make the model a plain one again that says the same; in place."""
    note: str = ""
    """What else there is to say of it, one sentence."""


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
    """What becomes of added weights; empty where none are added."""
    obstacle: Callable[[Any], str]
    """Why a model cannot take it, as a phrase; empty when it can."""
    prepare: Callable[[Any, Plan], Prepared]
    """Make a model ready, in place. Raises `ModelError` when the settings do not fit the model."""
