"""Cross-entropy of the student to the teacher's soft targets (Hinton et al. 2015, arXiv 1503.02531).

    loss_b = - sum_k softmax(teacher_b / T)_k * log softmax(student_b / T)_k

Its gradient is that of KL(teacher || student); it differs from it by the teacher's entropy, a constant.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def loss(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits (B, K) of both -> (B,). Targets are not used."""
    del targets
    soft = F.softmax(teacher / temperature, dim=-1)
    return -(soft * F.log_softmax(student / temperature, dim=-1)).sum(-1)
