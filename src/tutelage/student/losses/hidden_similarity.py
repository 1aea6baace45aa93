"""Which texts of a batch are like which (similarity-preserving distillation: Tung & Mori 2019, arXiv 1907.09682).

    g_b = (<x_b, x_1>, ..., <x_b, x_B>) brought to length 1
    loss_b = |student's g_b - teacher's g_b|^2, mean over layers

Turned or scaled states have the same similarities, so widths may differ. The paper divides by B once more and weighs
its term by 3000; without that the size does not depend on the batch, and a weight of about 1 is the place to start. A
row alone has nothing to be like. Where all states share a large common part, as a Transformer's often do, all texts are
alike by this measure; `relational` looks at their differences.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Pooled hidden states (B, layers, any width) of both -> (B,)."""
    difference = _similarities(student) - _similarities(teacher)
    return difference.square().sum(-1).mean(0)


def _similarities(states: torch.Tensor) -> torch.Tensor:
    by_layer = states.transpose(0, 1)
    return F.normalize(by_layer @ by_layer.mT, dim=-1)
