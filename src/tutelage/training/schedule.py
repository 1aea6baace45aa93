"""How the learning rate moves."""

from __future__ import annotations


def warmup_then_linear(step: int, *, total: int, warmup: float) -> float:
    """Factor in 0..1 for step 0..total-1: a linear rise over `warmup` of the steps, then a linear fall to zero.

    The rate of the first step is above zero and that of the last too, so no step is wasted.
    """
    rise = max(1, round(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return (total - step) / max(1, total - rise + 1)
