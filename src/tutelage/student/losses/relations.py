"""How queries relate to queries, keys to keys and values to values (MiniLMv2: Wang et al. 2021, arXiv 2012.15828).

    relation_hi. = softmax over the text's tokens j of <x_hi, x_hj> / sqrt(d),  x cut into r parts h of width d
    loss_b = mean over x in (queries, keys, values), parts h and real tokens i
             of KL(teacher's relation_hi. || student's)

Both sides are cut into r relation heads, whatever heads they attend with, so widths and head counts may differ. The
paper takes the vectors of one teacher layer, weighs the three by 1/3 as here, and cuts into more parts than there are
heads (48 for 12 heads): finer relations.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

# Below any product: such a token gets nothing of a softmax in single precision, and no gradient.
_NEVER = -1e9


def loss(
    student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor], mask: torch.Tensor, heads: int
) -> torch.Tensor:
    """Queries, keys and values (B, T, any width) of both, mask (B, T), true on real tokens -> (B,)."""
    kinds = [_apart(ours, theirs, mask, heads) for ours, theirs in zip(student, teacher, strict=True)]
    return torch.stack(kinds).mean(0)


def _apart(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor, heads: int) -> torch.Tensor:
    said, told = _relations(student, mask, heads), _relations(teacher, mask, heads)
    divergence = F.kl_div(said, told, reduction="none", log_target=True).sum(-1)
    return (divergence * mask[:, None]).sum((1, 2)) / (heads * mask.sum(1)).clamp_min(1)


def _relations(vectors: torch.Tensor, mask: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, T, width) -> logarithms (B, heads, T, T)."""
    rows, count, width = vectors.shape
    parts = vectors.reshape(rows, count, heads, width // heads).transpose(1, 2)
    products = parts @ parts.mT / parts.shape[-1] ** 0.5
    return F.log_softmax(products.masked_fill(~mask[:, None, None, :], _NEVER), dim=-1)
