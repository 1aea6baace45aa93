"""Relations between the texts of a batch: distances and angles (RKD: Park et al. 2019, arXiv 1904.05068).

    distance_ij = |x_i - x_j| / mean over pairs;  angle_ijk = cosine of the angle at x_j between x_i and x_k
    loss_j = mean over i of huber(distance_ij) + 2 mean over pairs (i, k) of huber(angle_ijk), averaged over layers

huber compares the student's relation with the teacher's. Turned, shifted or scaled states have the same relations, so
widths may differ. The paper weighs the two parts 1 to 2. A row alone has no distances, two rows have no angles. The
angles of a batch of B rows take B^3 numbers a layer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

_ANGLE = 2.0
# Squared distances below this share of their mean, or below this number, count as that: no slope grows without bound.
_SAME, _LEAST = 1e-4, 1e-12


def loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Pooled hidden states (B, layers, any width) of both -> (B,)."""
    rows = len(student)
    ours, theirs = _relations(student), _relations(teacher)
    apart = ~torch.eye(rows, dtype=torch.bool, device=student.device)
    distances, angles = (
        F.smooth_l1_loss(one, other, reduction="none") for one, other in zip(ours, theirs, strict=True)
    )
    real = apart[:, :, None] & apart[:, None, :] & apart  # [j, i, k]: three different texts
    per_vertex = (distances * apart).sum(-1) / max(rows - 1, 1)
    per_vertex = per_vertex + _ANGLE * (angles * real).sum((-2, -1)) / max((rows - 1) * (rows - 2), 1)
    return per_vertex.mean(0)


def _relations(states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances (layers, B, B) over their mean, and cosines (layers, B, B, B) of the angles at j of [j, i, k]."""
    # Around their mean, products keep the digits that differ between texts.
    centred = (states - states.mean(0)).transpose(0, 1)
    products = centred @ centred.mT
    squares = products.diagonal(dim1=-2, dim2=-1)
    squared = squares[:, :, None] + squares[:, None, :] - 2 * products
    pairs = max(len(states) * (len(states) - 1), 1)
    least = _SAME * squared.detach().sum((-2, -1), keepdim=True) / pairs
    # The diagonal is zero and stays out of roots, whose slope there is infinite.
    itself = torch.eye(len(states), dtype=torch.bool, device=states.device)
    distances = squared.maximum(least + _LEAST).masked_fill(itself, 1.0).sqrt()
    mean = distances.masked_fill(itself, 0.0).sum((-2, -1), keepdim=True) / pairs
    # <x_i - x_j, x_k - x_j> from the products alone.
    corner = products[:, None] - products[:, :, :, None] - products[:, :, None, :] + squares[:, :, None, None]
    cosines = corner / (distances[:, :, :, None] * distances[:, :, None, :])
    return distances / mean.clamp_min(_LEAST), cosines
