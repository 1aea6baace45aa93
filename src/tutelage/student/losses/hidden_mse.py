"""Mean squared difference of hidden states (FitNets: Romero et al. 2015, arXiv 1412.6550; TinyBERT: arXiv 1909.10351).

    loss_b = mean over layers and numbers of (student - teacher)^2

Direction and length are matched. The states are those averaged over the tokens of a text, not one a token.
"""

from __future__ import annotations

import torch


def loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Pooled hidden states (B, layers, width) of both -> (B,)."""
    return (student - teacher).square().mean((-2, -1))
