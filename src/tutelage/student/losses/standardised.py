"""KL between standardised logits: the student matches what the teacher prefers, not how widely its logits spread.

    z = (logits - mean) / standard deviation, within each row
    loss_b = KL(softmax(teacher's z_b / T) || softmax(student's z_b / T))

Sun et al. 2024, "Logit Standardization in Knowledge Distillation", arXiv 2403.01427. The authors use T = 2 and weigh
the term by 9 against a label term of 0.1. The spread of the student's logits is left to the labels, or to calibration.
With two classes a standardised row is (1, -1) or (-1, 1), whatever the logits: nothing could be learned from it, so at
least three are needed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

# Keeps a row of equal logits finite; it is the authors'.
_LEAST_SPREAD = 1e-7


def loss(student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits (B, K) of both -> (B,). Targets are not used."""
    del targets
    said, told = (F.log_softmax(_standardised(side) / temperature, dim=-1) for side in (student, teacher))
    return F.kl_div(said, told, reduction="none", log_target=True).sum(-1)


def _standardised(logits: torch.Tensor) -> torch.Tensor:
    centred = logits - logits.mean(-1, keepdim=True)
    # The root of the mean square has no slope at zero; this norm's is defined as zero there.
    spread: torch.Tensor = torch.linalg.vector_norm(centred, dim=-1, keepdim=True) / centred.shape[-1] ** 0.5
    return centred / (spread + _LEAST_SPREAD)
