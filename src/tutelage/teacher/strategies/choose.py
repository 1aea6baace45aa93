"""Which strategy suits: a few rules, each with its reason, from the labels there are, the model and the memory.

The figures behind them are in docs/decisions/0009.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.network import Network
from tutelage.recipe_teacher import OF_LABELS, ReadsName, StrategyName, TeacherRecipe
from tutelage.teacher.strategies import mean_layer

FEW = 128
"""Training texts up to which pairs of them are taken: 64 of each of two classes, the range of SetFit's paper. What was
measured here is less: docs/decisions/0009."""
AVERAGED = 1000
"""Training texts up to which the head reads the mean of all tokens: the most that were measured."""
# Weights, gradients and the two moments of AdamW, four bytes each; what a batch needs besides is left to the other
# half of the memory.
_BYTES, _SHARE = 16, 0.5
# Where not every weight can learn: the one that comes closest first.
_SMALLER: tuple[StrategyName, ...] = ("lora", "bitfit", "head")


@dataclass(frozen=True)
class Facts:
    """What the rules look at."""

    rows: int
    """Training texts."""
    rarest: int
    """Of these, of the class that has the fewest; 0 where labels are numbers."""
    parameters: int
    free: int
    """Bytes of memory."""
    mean: bool = False
    """Whether the head may read the mean of all tokens: the model can, and no head has learned from anything else."""

    @property
    def needed(self) -> int:
        """Bytes that learning with all weights takes, beside the batches."""
        return _BYTES * self.parameters


def facts(network: Network, targets: NDArray[np.float64], *, free: int, fresh: bool = True) -> Facts:
    """Of a model and the targets (N,) of its training texts; `fresh` is a head that nothing has trained."""
    rarest = 0
    if network.task.outputs == "scores":
        rarest = int(np.bincount(targets.astype(np.int64), minlength=network.task.width).min())
    return Facts(len(targets), rarest, network.parameters, free, fresh and mean_layer.fits(network.model))


def choose(known: Facts, settings: TeacherRecipe, possible: Callable[[StrategyName], bool]) -> tuple[StrategyName, str]:
    """The strategy that is taken, and why; `possible` says whether a model can take a strategy."""
    if known.needed > _SHARE * known.free:
        for name in _SMALLER:
            if possible(name):
                return name, (
                    f"learning with all {known.parameters / 1e6:,.0f} million weights takes {_gb(known.needed)}, more "
                    f"than half of the {_gb(known.free)} of memory that are free"
                )
    asked = [key for key in OF_LABELS if getattr(settings, key)]
    if known.rows <= FEW and known.rarest >= 2 and not asked and possible("few-shot"):
        return "few-shot", f"{known.rows:,} labelled texts are at most {FEW}, and pairs of them teach more"
    if known.rows <= FEW:
        why = _not_pairs(known, asked)
        return "full", f"{known.rows:,} labelled texts are few, but {why}"
    return "full", f"{known.rows:,} labelled texts are more than {FEW}, and there is memory for all weights"


def reads(known: Facts, settings: TeacherRecipe, taken: StrategyName) -> tuple[ReadsName, str]:
    """What the head is to read with the strategy that was taken, and why, where that is not what it reads anyway."""
    # Pairs bring the mean with them, a recipe that says what to read knows, and only classes were measured.
    if settings.reads != "auto" or taken == "few-shot" or not (known.mean and known.rarest) or known.rows > AVERAGED:
        return settings.reads, ""
    return "mean", f"; up to {AVERAGED:,} the mean of all tokens tells the head more than the first does"


def _not_pairs(known: Facts, asked: list[str]) -> str:
    if not known.rarest:
        return "not every class has texts to compare, or labels are numbers"
    if known.rarest < 2:
        return "a class with one text has no pair"
    return f"`{asked[0]}` asks for labels, not pairs" if asked else "this model has no vector of a text to compare"


def told(taken: str, why: str, known: Facts) -> dict[str, Any]:
    """The choice for the report."""
    figures = {
        "rows": known.rows,
        "rows_of_the_rarest_class": known.rarest,
        "parameters": known.parameters,
        "memory_needed": known.needed,
        "memory_free": known.free,
    }
    return {"what": "teacher's strategy", "taken": taken, "why": why, "figures": figures}


def _gb(count: int) -> str:
    return f"{count / 1e9:.2g} GB"
