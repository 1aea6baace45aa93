"""Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407): the plain mean of the weights near the end.

The mean is over every step of the last `strength` of them. The paper averages once an epoch, at a learning rate that is
held high; a fine-tuning of a few epochs has too few of those, and here the rate falls to 0 as always, so that the
averaged weights lie closer together than the paper's. Transformers have no batch statistics to be computed anew.
"""

from __future__ import annotations

from torch import nn

from tutelage.training.regime import Regime
from tutelage.training.regular import average


def regime(model: nn.Module, strength: float) -> Regime:
    """A mean of the last steps."""

    def newest(step: int, total: int) -> float:
        first = total - max(1, round(strength * total))
        return 0.0 if step < first else 1 / (step - first + 1)

    return average.regime(model, newest)
