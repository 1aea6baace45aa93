"""An average of a model's weights that is kept while they learn; validation judges it, and it is what is delivered."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from tutelage.training.regime import Regime, Tensors

_PREFIX = "average."

Newest = Callable[[int, int], float]
"""The share of the newest weights in the average after (step from 0, of steps in all); 0: it has not begun."""


def regime(model: nn.Module, newest: Newest) -> Regime:
    """What the loop does after every step, and around every validation."""
    average = _Average(model, newest)
    return Regime(after_step=average.take_in, swap=average.swap, state=average.state, restore=average.restore)


class _Average:
    def __init__(self, model: nn.Module, newest: Newest) -> None:
        # Asked before any epoch begins: what a strategy thaws later counts from the start.
        self.learning = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.newest = newest
        self.kept: Tensors = {}

    def take_in(self, step: int, total: int) -> None:
        share = self.newest(step, total)
        if share <= 0:
            return
        for name, value in self.learning.items():
            if name in self.kept:
                self.kept[name].lerp_(value.detach(), share)
            else:
                self.kept[name] = value.detach().clone()

    def swap(self) -> None:
        """Exchange the weights with their average, where there is one."""
        for name, average in self.kept.items():
            value = self.learning[name]
            now = value.detach().clone()
            with torch.no_grad():
                value.copy_(average)
            average.copy_(now)

    def state(self) -> Tensors:
        return {f"{_PREFIX}{name}": value.contiguous().cpu() for name, value in self.kept.items()}

    def restore(self, found: Tensors) -> None:
        self.kept = {
            name: found[f"{_PREFIX}{name}"].to(value.device)
            for name, value in self.learning.items()
            if f"{_PREFIX}{name}" in found
        }
