"""Direction of hidden states: 1 - cosine similarity of student and teacher, averaged over matched layers.

Cosine loss on hidden states: DistilBERT (Sanh et al. 2019, arXiv 1910.01108). Here the states are averaged over the
tokens of a text first, so that student and teacher may have different tokenizers and a million texts still fit on
disk.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Pooled hidden states (B, layers, width) of both -> (B,)."""
    return (1 - F.cosine_similarity(student, teacher, dim=-1)).mean(-1)
