"""Kullback-Leibler divergence of the student from the teacher's soft targets (Hinton et al. 2015, arXiv 1503.02531).

    loss_b = sum_k p_k (log p_k - log q_k),  p = softmax(teacher_b / T), q = softmax(student_b / T)

It teaches exactly what soft cross-entropy does: the gradients are the same. Its value is another: 0 means that nothing
is left to learn, where soft cross-entropy ends at the teacher's entropy.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def loss(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits (B, K) of both -> (B,). Targets are not used."""
    del targets
    told = F.log_softmax(teacher / temperature, dim=-1)
    said = F.log_softmax(student / temperature, dim=-1)
    return F.kl_div(said, told, reduction="none", log_target=True).sum(-1)
