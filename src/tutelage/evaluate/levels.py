"""How often each level of a cascade answers, and what a text takes on average and when it goes through all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.evaluate.speed import spread

_TIMED = 100


@dataclass(frozen=True)
class Levels:
    """Of a graph whose levels answer in turn."""

    shares: tuple[float, ...]
    """Of the rows that each level answered, the cheapest first; their sum is 1."""
    mean: float
    """Milliseconds for one text alone, over a hundred texts, evenly spread: a file may be sorted by class."""
    worst: float | None
    """Median milliseconds for one text alone that goes through every level; None where no text did."""


def measure(bundle: Any, texts: list[str], *, levels: int) -> Levels | None:
    """Of a bundle with so many levels on some texts; None where its graph has one level only."""
    found = bundle.levels(texts)
    if found is None or not len(found):
        return None
    shares = np.bincount(found, minlength=levels) / len(found)
    through = spread([texts[row] for row in np.flatnonzero(found == levels - 1)], _TIMED)
    mean = float(np.mean(_milliseconds(bundle.predict, spread(texts, _TIMED))))
    worst = float(np.median(_milliseconds(bundle.predict, through))) if through else None
    return Levels(tuple(shares.tolist()), mean, worst)


def _milliseconds(run: Callable[[list[str]], object], texts: list[str]) -> list[float]:
    run(texts[:1])  # warm up
    found = []
    for text in texts:
        start = time.perf_counter()
        run([text])
        found.append(1000 * (time.perf_counter() - start))
    return found
