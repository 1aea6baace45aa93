"""How often the rows of several data sets are drawn: some are repeated, some wait for another epoch.

With n_0 rows of the user's own, n_s rows of another set, its weight w_s and the sampling temperature T, sets are drawn
in proportion to

    p_s ~ w_s * n_s ** (1 / T),   w_0 = 1          (T5, Raffel et al. 2020, arXiv 1910.10683, section 3.5.2; mT5)

An epoch is one pass over the user's own rows, each once, so that it draws n_0 * p_s / p_0 rows of the other set: at
T = 1 that is w_s draws of each of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Mixture:
    """S data sets that stand one behind the other, N rows in all.

    Each is an endless stream of its rows in an order of chance, every row once before any comes again; each epoch takes
    the next `drawn` of them. A function of the seed and the epoch alone.
    """

    rows: tuple[int, ...]
    """Of each set (S,)."""
    drawn: tuple[int, ...]
    """Of each set in one epoch (S,)."""
    seed: int

    @classmethod
    def of(cls, rows: Sequence[int], weights: Sequence[float], *, temperature: float, seed: int) -> Mixture | None:
        """Sets of so many rows, the user's own first; None where every row is drawn once an epoch."""
        drawn = [
            max(1, round(count * weight * (count / rows[0]) ** (1 / temperature - 1)))
            for count, weight in zip(rows, weights, strict=True)
        ]
        return cls(tuple(rows), tuple(drawn), seed) if drawn != list(rows) else None

    @classmethod
    def from_dict(cls, value: dict[str, Any] | None) -> Mixture | None:
        """The inverse of `as_dict`."""
        return cls(tuple(value["rows"]), tuple(value["drawn"]), value["seed"]) if value else None

    def as_dict(self) -> dict[str, Any]:
        """JSON-serialisable; names the mixture."""
        return asdict(self)

    def epoch(self, number: int) -> Rows:
        """The rows of an epoch, as many in each, set by set."""
        found, first = [], 0
        for place, (rows, drawn) in enumerate(zip(self.rows, self.drawn, strict=True)):
            found.append(first + self._stream(place, number * drawn, (number + 1) * drawn, rows))
            first += rows
        return np.concatenate(found)

    def _stream(self, place: int, begin: int, end: int, rows: int) -> Rows:
        turns = range(begin // rows, -(-end // rows))
        orders = [np.random.default_rng([self.seed, place, turn]).permutation(rows) for turn in turns]
        start = begin - turns.start * rows
        return np.concatenate(orders)[start : start + end - begin].astype(np.int64)

    def first(self, rows: int) -> Mixture:
        """The sets that stand within so many rows."""
        count = int(np.searchsorted(np.cumsum(self.rows), rows, side="right"))
        return Mixture(self.rows[:count], self.drawn[:count], self.seed)

    def and_all_of(self, rows: int) -> Mixture:
        """With one more set, whose rows are all drawn in every epoch."""
        return Mixture((*self.rows, rows), (*self.drawn, rows), self.seed) if rows else self
