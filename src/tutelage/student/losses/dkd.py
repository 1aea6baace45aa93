"""Decoupled knowledge distillation (Zhao et al. 2022, arXiv 2203.08679).

    loss_b = target_b + others_b
    target = KL between (p_t, 1 - p_t) of teacher and student, t the row's class
    others = KL between the softmaxes over all classes but t

Plain KL is target + (1 - p_t) * others: the surer the teacher, the less it says of the other classes. Here they keep
their weight. A row without a label takes the teacher's first class as t. With two classes `others` is zero and this is
plain KL.

Both parts weigh 1, the paper's plain decoupling. Its authors then tune the second: 8 for most pairs on CIFAR-100, at
T = 4, and 0.5 on ImageNet, at T = 1. Nothing is tuned on text here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

_OTHERS = 1.0


def loss(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits (B, K) of both, K of at least 2, classes (B,), NaN where unknown -> (B,)."""
    target, others = parts(student, teacher, targets, temperature)
    return target + _OTHERS * others


def parts(
    student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """What of the divergence is about the row's class, and what about the others: (B,) each."""
    top = teacher.argmax(-1)
    classes = torch.where(targets.isnan(), top.to(targets.dtype), targets).long()
    mine = F.one_hot(classes, teacher.shape[-1]).bool()
    said, told = _split(student / temperature, mine), _split(teacher / temperature, mine)
    target, others = (_kl(ours, theirs) for ours, theirs in zip(said, told, strict=True))
    return target, others


def _split(logits: torch.Tensor, mine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of (the class, all others together) (B, 2), and of the others among themselves (B, K - 1)."""
    others = logits[~mine].view(len(logits), logits.shape[-1] - 1)
    return torch.stack([logits[mine], others.logsumexp(-1)], dim=-1), others


def _kl(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    said, told = F.log_softmax(student, dim=-1), F.log_softmax(teacher, dim=-1)
    return F.kl_div(said, told, reduction="none", log_target=True).sum(-1)
