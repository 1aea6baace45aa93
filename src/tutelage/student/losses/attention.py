"""Which tokens attend to which, in every head (TinyBERT: Jiao et al. 2020, arXiv 1909.10351).

    score_hij = <query_hi, key_hj> / sqrt(head width);  map_hi. = softmax over the text's tokens of score_hi.
    loss_b = mean over heads h and pairs (i, j) of real tokens of (student's - teacher's)^2

The paper matches scores, before the softmax, and found that this converges faster; `maps` compares what comes after it.
A map has T numbers that add up to 1, so its squares are about T^2 times smaller: a weight for one is not one for the
other. Heads are compared one by one, so both sides need as many; their widths may differ.
"""

from __future__ import annotations

import torch

# Below any score: such a token gets nothing of a softmax in single precision, and no gradient.
_NEVER = -1e9

Vectors = tuple[torch.Tensor, torch.Tensor]
"""Queries and keys (B, T, width)."""


def scores(student: Vectors, teacher: Vectors, mask: torch.Tensor, heads: int) -> torch.Tensor:
    """Queries and keys (B, T, any width) of both, mask (B, T), true on real tokens -> (B,)."""
    return _apart(_scores(*student, heads), _scores(*teacher, heads), mask)


def maps(student: Vectors, teacher: Vectors, mask: torch.Tensor, heads: int) -> torch.Tensor:
    """The same of the attention after softmax."""
    here = mask[:, None, None, :]
    ours, theirs = (_scores(*side, heads).masked_fill(~here, _NEVER).softmax(-1) for side in (student, teacher))
    return _apart(ours, theirs, mask)


def _scores(query: torch.Tensor, key: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, T, width) -> (B, heads, T, T)."""
    rows, count, width = query.shape
    asked, offered = (side.reshape(rows, count, heads, width // heads).transpose(1, 2) for side in (query, key))
    found: torch.Tensor = asked @ offered.mT / (width // heads) ** 0.5
    return found


def _apart(ours: torch.Tensor, theirs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    pairs = mask[:, None, :, None] & mask[:, None, None, :]
    squares = ((ours - theirs) * pairs).square().sum((1, 2, 3))
    return squares / (ours.shape[1] * mask.sum(1).square()).clamp_min(1)
