"""Huber loss to the teacher's value, or to the label where the teacher is an outlier.

    d = student - goal;  loss = d^2 / 2 where |d| < 1, |d| - 1/2 elsewhere
    goal = teacher, or label where |teacher - label| > 1

Values are standardised, so 1 is one standard deviation of the target. Teacher outlier rejection: Takamoto et al. 2020,
"An Efficient Method of Training Small Models for Regression Problems with Knowledge Distillation", arXiv 2002.12597.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

# A teacher further from the label than this, in standard deviations of the target, is not followed.
_OUTLIER = 1.0


def loss(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Standardised values (B, 1) of both, labels (B,) -> (B,). A quantity has no temperature."""
    del temperature
    told = teacher.squeeze(-1)
    outlier = (told - targets).abs() > _OUTLIER  # False where there is no label: NaN compares false
    goal = torch.where(outlier, targets.to(told.dtype), told)
    return F.huber_loss(student.squeeze(-1), goal, reduction="none")
