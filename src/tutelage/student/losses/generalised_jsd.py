"""Generalised Jensen-Shannon divergence between teacher and student (as in GKD: Agarwal et al. 2024, arXiv 2306.13649).

    m = beta p + (1 - beta) q;  loss_b = beta KL(p || m) + (1 - beta) KL(q || m)

p = softmax(teacher_b / T), q = softmax(student_b / T). Between KL(p || q), which spreads the student over all that the
teacher holds possible, and KL(q || p), which lets it choose; beta is 1/2, the symmetric middle. At most log 2: a row on
which the two disagree altogether pulls with bounded force, and hardly at all in the end.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

_BETA = 0.5


def loss(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits (B, K) of both -> (B,). Targets are not used."""
    del targets
    return divergence(student / temperature, teacher / temperature, beta=_BETA)


def divergence(student: torch.Tensor, teacher: torch.Tensor, *, beta: float) -> torch.Tensor:
    """The divergence (B,) of logits (B, K) for some beta between 0 and 1, both excluded."""
    said, told = F.log_softmax(student, dim=-1), F.log_softmax(teacher, dim=-1)
    middle = torch.logaddexp(told + math.log(beta), said + math.log1p(-beta))
    divergences = [F.kl_div(middle, side, reduction="none", log_target=True).sum(-1) for side in (told, said)]
    return beta * divergences[0] + (1 - beta) * divergences[1]
