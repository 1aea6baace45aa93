"""Find the teacher's state of the same text among those of the batch (contrastive representation distillation, CRD).

    loss_b = - log softmax_c(cosine(student_b, teacher_c) / 0.1)_b, mean over layers

Tian et al. 2020, arXiv 1910.10699, in the form of InfoNCE with the batch's other texts as negatives (the paper keeps a
memory of 16,384 of them). Batches hold texts of similar length, so that length alone gives nothing away. At best it is
near 0, not at 0: even the teacher's own states are only as far apart as they are. A row alone has no negatives.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

# The paper's, outside ImageNet.
_TEMPERATURE = 0.1


def loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Pooled hidden states (B, layers, width) of both -> (B,)."""
    ours, theirs = (F.normalize(side, dim=-1).transpose(0, 1) for side in (student, teacher))
    likeness = ours @ theirs.mT / _TEMPERATURE
    return -F.log_softmax(likeness, dim=-1).diagonal(dim1=-2, dim2=-1).mean(0)
