"""Fast gradient method on embedded tokens (Miyato et al. 2017, arXiv 1605.07725).

    (loss(x) + loss(x + strength * g / |g|)) / 2,  g the gradient of the loss by the embedded tokens x of a sequence

The mean of the plain and the adversarial loss is Goodfellow et al.'s (2015, arXiv 1412.6572); Miyato et al. take the
sum, and embeddings that are normalised first, so that their strengths are not ours. The length is that of
all tokens of a sequence together.
"""

from __future__ import annotations

import torch

from tutelage.training.regular.turn import Turn


def loss(turn: Turn, strength: float) -> torch.Tensor:
    """Sum over the rows of a batch, a scalar."""
    with turn.shifted() as seen:
        plain = turn.once()
    with turn.shifted(strength * turn.uphill(plain, seen)):
        harder = turn.once()
    return (plain + harder) / 2
