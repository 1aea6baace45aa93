"""L1 penalty (Tibshirani 1996, Journal of the Royal Statistical Society B 58:267): weights that do little shrink.

    loss of a batch + strength * sum |w|  over all matrices that learn, embeddings included

AdamW divides every gradient by its own size, so that weights come near 0 and do not stay there: no weight is pruned by
this. Biases, normalisation and whatever else does not decay are left alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from tutelage.training.regime import Regime


def regime(model: nn.Module, strength: float, decays: Callable[[str], bool] = lambda _: True) -> Regime:
    """What the loop adds to the mean loss of every batch; `decays` tells which matrices may shrink, by name."""

    def penalty() -> torch.Tensor:
        shrinking = ((name, value) for name, value in model.named_parameters() if value.requires_grad)
        sizes = [value.abs().sum() for name, value in shrinking if value.ndim >= 2 and decays(name)]
        return strength * torch.stack(sizes).sum() if sizes else torch.zeros(())

    return Regime(penalty=penalty)
