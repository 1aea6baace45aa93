"""L1 penalty (Tibshirani 1996, Journal of the Royal Statistical Society B 58:267): weights that do little shrink.

    loss of a batch + strength * sum |w|  over all matrices that learn, embeddings included

AdamW divides every gradient by its own size, so that weights come near 0 and do not stay there: no weight is pruned by
this. Biases and normalisation are left alone, as in weight decay.
"""

from __future__ import annotations

import torch
from torch import nn

from tutelage.training.regime import Regime


def regime(model: nn.Module, strength: float) -> Regime:
    """What the loop adds to the mean loss of every batch."""

    def penalty() -> torch.Tensor:
        sizes = [value.abs().sum() for value in model.parameters() if value.requires_grad and value.ndim >= 2]
        return strength * torch.stack(sizes).sum() if sizes else torch.zeros(())

    return Regime(penalty=penalty)
