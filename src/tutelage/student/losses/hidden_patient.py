"""Squared distance of hidden states brought to length 1 (patient knowledge distillation: Sun et al. 2019, 1908.09355).

    loss_b = mean over layers of |student / |student| - teacher / |teacher||^2

It is twice the cosine loss, so `cosine` with twice the weight teaches the same. The paper compares the states of the
first token; here they are averages over the tokens of a text.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Pooled hidden states (B, layers, width) of both -> (B,)."""
    difference = F.normalize(student, dim=-1) - F.normalize(teacher, dim=-1)
    return difference.square().sum(-1).mean(-1)
