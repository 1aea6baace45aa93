"""How the teacher's weight and the temperature fall while the student learns: to the labels, to what it really says.

With d the share of all optimizer steps that are done, and t = d * epochs the passes over the transfer set:

    constant    alpha
    linear      alpha * (1 - d)
    cosine      alpha * (1 + cos(pi d)) / 2
    1/t         alpha / (1 + t)

The labels weigh 1 - that. The temperature T falls to 1:

    constant    T
    linear      T + (1 - T) d
    inverse     1 / (1 / T + (1 - 1 / T) d)     the teacher's logits grow evenly (annealing, arXiv 2104.07163)

Functions of the step alone, so that a resumed training goes on exactly where it was; one that stops early has not seen
the end of them.
"""

from __future__ import annotations

import math

from tutelage.recipe import StudentRecipe


def alpha(settings: StudentRecipe, done: float) -> float:
    """The teacher's weight in the step before which a share `done` (0 to 1) of all steps was taken."""
    factors = {
        "constant": 1.0,
        "linear": 1 - done,
        "cosine": (1 + math.cos(math.pi * done)) / 2,
        "1/t": 1 / (1 + done * settings.epochs),
    }
    return settings.alpha * factors[settings.alpha_schedule]


def temperature(settings: StudentRecipe, done: float) -> float:
    """The temperature in the step before which a share `done` (0 to 1) of all steps was taken."""
    start = settings.temperature
    found = {
        "constant": start,
        "linear": start + (1 - start) * done,
        "inverse": 1 / (1 / start + (1 - 1 / start) * done),
    }
    return found[settings.temperature_schedule]
