"""AdamW, fused, without decay on what should not shrink."""

from __future__ import annotations

import torch
from torch import nn

from tutelage.training.regime import Regime


def adamw(
    model: nn.Module, *, learning_rate: float, weight_decay: float, regime: Regime | None = None
) -> torch.optim.AdamW:
    """Decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101) on matrices only.

    Biases and normalisation weights (one dimension) are left alone. Frozen parameters take no part. The fused
    kernel updates all tensors in one pass: measured 6 % faster for a whole step of a 22M-parameter encoder on CPU.
    Each group carries its `rate`, the factor that a regime gives to the learning rate of its parameters.
    """
    regime = regime or Regime()
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and regime.decays(name)
            groups.setdefault((decays, regime.rate(name)), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": members, "weight_decay": weight_decay if decays else 0.0, "rate": rate}
            # Matrices first, steepest first: a fixed order, by which checkpoints number the parameters.
            for (decays, rate), members in sorted(groups.items(), key=lambda item: item[0], reverse=True)
        ],
        lr=learning_rate,
        fused=True,
    )
