"""Correlation instead of equality, for teachers much stronger than the student (Huang et al. 2022, arXiv 2205.10536).

    loss_b = 1 - r(q_b, p_b) + mean over classes k of (1 - r(q_.k, p_.k))

r is Pearson's correlation, q and p are student's and teacher's softmax at temperature T. The first part compares the
classes of a row, the second the rows of a batch within a class; both weigh 1.

The second part depends on which rows are together. A row alone has none. With two classes the first part only says
which class leads, without a gradient, and the second teaches alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def loss(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits (B, K) of both -> (B,). Targets are not used; the mean over the rows is the paper's loss of a batch."""
    del targets
    said, told = F.softmax(student / temperature, dim=-1), F.softmax(teacher / temperature, dim=-1)
    between_classes = _apart(said, told)
    if len(said) < 2:
        return between_classes
    return between_classes + _apart(said.T, told.T).mean()


def _apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """1 - Pearson's correlation of each row (N, M) -> (N,)."""
    centred = [side - side.mean(-1, keepdim=True) for side in (one, other)]
    return 1 - F.cosine_similarity(centred[0], centred[1], dim=-1)
