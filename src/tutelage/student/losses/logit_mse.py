"""Squared distance of the logits, each side around its own mean.

    loss_b = sum_k ((student_bk - mean_b) - (teacher_bk - mean_b))^2 / (2 K T^2)

Matching logits: Ba & Caruana 2014 (arXiv 1312.6184); compared with KL by Kim et al. 2021 (arXiv 2105.08919), who take
the plain square. Here each side is centred, because a softmax does not see what is added to all logits of a row. The
factor makes the term what the KL term tends to when T grows (Hinton et al. 2015, section 2.1), so that alpha keeps its
meaning. The caller's T^2 cancels: the temperature has no effect.
"""

from __future__ import annotations

import torch


def loss(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits (B, K) of both -> (B,). Targets are not used."""
    del targets
    difference = (student - teacher) / temperature
    return (difference - difference.mean(-1, keepdim=True)).square().mean(-1) / 2
