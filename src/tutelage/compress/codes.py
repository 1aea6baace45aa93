"""Which pieces an embedding table is put together from: k-means over every part of its rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.artifacts.coded import PIECES, Codes
from tutelage.progress import Progress

# Numbers in a part: with 8 a row of 384 numbers takes 48 bytes instead of 384 in int8.
_PART = 8
# Tokens that keep their row: 84 to 96 in a hundred words of the four kinds of text of docs/decisions/0011.
_WHOLE = 2500
_ROUNDS = 30


def of(table: torch.Tensor, counts: NDArray[np.int64], *, seed: int, progress: Progress) -> Codes | None:
    """Codes for a table (V, D), the tokens with the highest `counts` (V,) kept whole.

    The same for the same input, whatever the number of threads. None where nothing would be saved.
    """
    rows = table.detach().float().numpy()
    whole = np.sort(np.argsort(-counts, kind="stable")[:_WHOLE])
    others = np.setdiff1d(np.arange(len(rows)), whole)
    if len(others) <= 2 * PIECES:
        return None
    size = next(size for size in range(_PART, 0, -1) if rows.shape[1] % size == 0)
    parts = np.split(rows[others], rows.shape[1] // size, axis=1)
    found = []
    with progress.bar("Coding the embeddings", len(parts)) as bar:
        for part in parts:
            found.append(_clustered(part, seed))
            bar.advance()
    numbers, pieces = zip(*found, strict=True)
    return Codes(whole, np.stack(numbers, axis=1), np.stack(pieces))


def least_bytes(vocabulary: int, width: int) -> int:
    """About what coded embeddings take in a graph of eight bits."""
    coded = width * (_WHOLE + PIECES) + max(vocabulary - _WHOLE, 0) * width // _PART
    return min(coded, vocabulary * width)


def _clustered(part: NDArray[np.float32], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    # Sums of several threads would depend on their order.
    with threadpool_limits(1):
        kmeans = MiniBatchKMeans(PIECES, random_state=seed, batch_size=4096, n_init=1, max_iter=_ROUNDS).fit(part)
    return kmeans.labels_.astype(np.uint8), kmeans.cluster_centers_.astype(np.float32)
