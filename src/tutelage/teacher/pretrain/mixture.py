"""Which block of which source comes when: several sources mixed by weight, a function of the seed alone.

Of every stretch between two looks, each source has its part to within one sequence. Inside a source, the blocks come in
an order of chance, each once before any comes again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

# A row is a source and the number of its sequences before: not which block it is, so that a block that comes again is
# another row, and is hidden otherwise.
_SOURCE = 40
_CLOSE = 1e-12


class Mixture:
    """An endless order of rows. `sizes` are the blocks of each source, `weights` their parts."""

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], *, seed: int) -> None:
        self._sizes, self._seed = list(sizes), seed
        total = sum(weights)
        self._shares = [weight / total for weight in weights]
        self._orders: dict[tuple[int, int], NDArray[np.int64]] = {}

    def plan(self, stretch: int, *, steps: int, rows: int) -> list[Rows]:
        """The batches of one stretch: `steps` of `rows` rows each."""
        before, after = self._taken(stretch, steps * rows), self._taken(stretch + 1, steps * rows)
        parts = [
            (source << _SOURCE) + np.arange(begin, end, dtype=np.int64)
            for source, (begin, end) in enumerate(zip(before, after, strict=True))
        ]
        # No order from before this stretch is asked for again.
        begun = [taken // size for taken, size in zip(before, self._sizes, strict=True)]
        self._orders = {key: order for key, order in self._orders.items() if key[1] >= begun[key[0]]}
        random = np.random.default_rng([self._seed, stretch])
        return [np.sort(batch) for batch in np.split(random.permutation(np.concatenate(parts)), steps)]

    def find(self, row: int) -> tuple[int, int]:
        """(source, block) of a row."""
        source, place = row >> _SOURCE, row & ((1 << _SOURCE) - 1)
        turn, inside = divmod(place, self._sizes[source])
        if (source, turn) not in self._orders:
            random = np.random.default_rng([self._seed, source, turn])
            self._orders[source, turn] = random.permutation(self._sizes[source])
        return source, int(self._orders[source, turn][inside])

    def _taken(self, stretches: int, rows: int) -> list[int]:
        """Rows of each source in so many stretches, by Sainte-Laguë's method: with more of them no source has fewer.

        A source's row number k (from 0) is due when (k + 1/2) / share rows are; the first so many are taken.
        """
        wanted = stretches * rows
        least, most = 0.0, wanted + 1 / min(self._shares)
        while most - least > _CLOSE * most:
            middle = (least + most) / 2
            least, most = (middle, most) if sum(self._due(middle)) < wanted else (least, middle)
        counts, tied = self._due(least), self._due(most)
        for source, more in enumerate(tied):
            # Due at the same time, in the order of the sources.
            counts[source] += min(more - counts[source], wanted - sum(counts))
        return counts

    def _due(self, rows: float) -> list[int]:
        return [math.floor(share * rows + 0.5) for share in self._shares]
