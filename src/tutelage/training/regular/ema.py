"""Exponential moving average of the weights (Polyak and Juditsky 1992, SIAM J. Control Optim. 30:838).

    average = d * average + (1 - d) * weights  after every step n = 0, 1 ...,  d = min(strength, n / (n + 9))

The smaller decay of the first steps keeps the start out of the average, as TensorFlow's `num_updates` does. 0 keeps the
last weights. With a few hundred steps 0.99 remembers enough; 0.999 wants some thousands.
"""

from __future__ import annotations

from torch import nn

from tutelage.training.regime import Regime
from tutelage.training.regular import average


def regime(model: nn.Module, strength: float) -> Regime:
    """An average that forgets."""
    return average.regime(model, lambda step, _: 1 - min(strength, step / (step + 9)))
