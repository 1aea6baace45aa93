"""The last linear layer of a model: where a temperature or a unit is folded in, so that the saved model needs no
further settings to be calibrated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tutelage.errors import ModelError


def last_linear(model: nn.Module, width: int) -> nn.Linear:
    """The last `nn.Linear` with `width` outputs. Raises `ModelError` when there is none."""
    found = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == width]
    if not found:
        raise ModelError(
            f"{type(model).__name__} has no linear head with {width} outputs",
            expected="a model for sequence classification",
            cure="choose another `teacher.model`",
        )
    return found[-1]


def rescale(model: nn.Module, width: int, *, factor: float, shift: float = 0.0) -> None:
    """Make the model give `factor * output + shift` from now on.

    A head without bias cannot be shifted: `shift` must then be 0 (see `has_bias`).
    """
    head = last_linear(model, width)
    with torch.no_grad():
        head.weight.mul_(factor)
        if head.bias is not None:
            head.bias.mul_(factor).add_(shift)
        elif shift:
            raise ModelError("the head has no bias, so its outputs cannot be shifted")


def reorder(model: nn.Module, width: int, order: Sequence[int]) -> None:
    """Make the model give its outputs in another order: first the one whose number is first in `order` (K,)."""
    head = last_linear(model, width)
    with torch.no_grad():
        head.weight.copy_(head.weight[list(order)])
        if head.bias is not None:
            head.bias.copy_(head.bias[list(order)])


def has_bias(model: nn.Module, width: int) -> bool:
    """Whether the head can be shifted."""
    return last_linear(model, width).bias is not None
