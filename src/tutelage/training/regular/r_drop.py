"""R-Drop (Liang et al. 2021, arXiv 2106.14448): two passes with different dropout must say the same.

    (loss(one) + loss(other)) / 2 + strength * (KL(p, q) + KL(q, p)) / 2

p and q are the probabilities of the two passes; values are compared by their squared difference. Passes that are equal
add nothing, so that there must be dropout.
"""

from __future__ import annotations

import torch

from tutelage.training.regular.turn import Turn


def loss(turn: Turn, strength: float) -> torch.Tensor:
    """Sum over the rows of a batch, a scalar."""
    one, other = turn.answer(), turn.answer()
    apart = difference(turn.outputs(one), turn.outputs(other), quantities=turn.network.task.outputs == "quantities")
    return (turn.judge(one) + turn.judge(other)) / 2 + strength * apart.sum()


def difference(one: torch.Tensor, other: torch.Tensor, *, quantities: bool) -> torch.Tensor:
    """How far two answers (B, K) are apart, (B,)."""
    if quantities:
        return (one - other).square().sum(-1)
    log_p, log_q = one.log_softmax(-1), other.log_softmax(-1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1) / 2
