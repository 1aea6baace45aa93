"""What a way of training changes in the loop. By default: nothing."""

from __future__ import annotations

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
    state: Callable[[], Tensors] = dict
    """What a checkpoint must keep so that `restore` goes on exactly there."""
    restore: Callable[[Tensors], None] = lambda _: None
