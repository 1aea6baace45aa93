"""What a way of training changes in the loop. By default: nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Regime:
    """Where a strategy may step in. Parameters are known by their names in the model that trains."""

    rate: Callable[[str], float] = lambda _: 1.0
    """Factor of a parameter's learning rate."""
    decays: Callable[[str], bool] = lambda _: True
    """Whether a matrix of this name shrinks under weight decay; vectors never do."""
    begin_epoch: Callable[[int], None] = lambda _: None
    """Called with the epoch, from 0, before its first step, and again when a training is resumed inside it."""
    after_step: Callable[[int, int], None] = lambda _, __: None
    """Called with (step from 0, steps in all) once the weights have moved, while their gradients are still there."""
    penalty: Callable[[], torch.Tensor] | None = None
    """A scalar added to the mean loss of every batch."""
    swap: Callable[[], None] = lambda: None
    """Exchange the weights that learn with those that are judged and kept; called before and after every judgement,
    and in the end where nothing was judged."""
    state: Callable[[], Tensors] = dict
    """What a checkpoint must keep so that `restore` goes on exactly there."""
    restore: Callable[[Tensors], None] = lambda _: None
    """Is given what all regimes of a training kept; each finds its own by name."""


def combined(*regimes: Regime) -> Regime:
    """All of them at once, in this order."""
    penalties = [regime.penalty for regime in regimes if regime.penalty is not None]

    def after_step(step: int, total: int) -> None:
        for regime in regimes:
            regime.after_step(step, total)

    def begin_epoch(epoch: int) -> None:
        for regime in regimes:
            regime.begin_epoch(epoch)

    def swap() -> None:
        for regime in regimes:
            regime.swap()

    def restore(kept: Tensors) -> None:
        for regime in regimes:
            regime.restore(kept)

    return Regime(
        rate=lambda name: math.prod(regime.rate(name) for regime in regimes),
        decays=lambda name: all(regime.decays(name) for regime in regimes),
        begin_epoch=begin_epoch,
        after_step=after_step,
        penalty=(lambda: torch.stack([penalty() for penalty in penalties]).sum()) if penalties else None,
        swap=swap,
        state=lambda: {name: value for regime in regimes for name, value in regime.state().items()},
        restore=restore,
    )
