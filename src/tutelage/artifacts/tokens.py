"""Texts as ragged token ids, ready for a training: no padding is kept, only made when a batch is put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.encoding import Reading, encode

_BLOCK = 4096


@dataclass(frozen=True)
class Tokens:
    """S sequences of N rows; S > N only where long texts are read in windows."""

    flat: NDArray[np.int32]
    """All ids, one sequence after the other."""
    start: NDArray[np.int64]
    """(S + 1,): sequence s is flat[start[s]:start[s + 1]]."""
    first: NDArray[np.int64]
    """(N + 1,): row n has the sequences first[n]:first[n + 1]."""
    pad: int = 0
    """Id to fill up with; it is always masked."""

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,): tokens of each row, over all of its sequences."""
        return np.asarray(self.start[self.first[1:]] - self.start[self.first[:-1]])

    def sequences(self, row: int) -> list[NDArray[np.int32]]:
        """The id sequences of one row."""
        return [self.flat[self.start[s] : self.start[s + 1]] for s in range(self.first[row], self.first[row + 1])]

    def take(self, rows: NDArray[np.int64]) -> Tokens:
        """Some rows, in the order given."""
        pieces = [self.sequences(row) for row in rows.tolist()]
        flat = [ids for sequences in pieces for ids in sequences]
        return Tokens(
            np.concatenate([np.empty(0, dtype=np.int32), *flat]),
            np.cumsum([0, *map(len, flat)], dtype=np.int64),
            np.cumsum([0, *map(len, pieces)], dtype=np.int64),
            self.pad,
        )


def tokenize(texts: Sequence[str], tokenizer: Any, reading: Reading, *, pad: int = 0) -> Tokens:
    """Encode texts with a `tokenizers.Tokenizer`, exactly as a bundle does, in blocks."""
    pieces: list[NDArray[np.int32]] = []
    lengths: list[int] = []
    per_row: list[NDArray[np.int64]] = []
    for begin in range(0, len(texts), _BLOCK):
        block = texts[begin : begin + _BLOCK]
        sequences, owner = encode(tokenizer, block, reading)
        pieces += [np.asarray(ids, dtype=np.int32) for ids in sequences]
        lengths += [len(ids) for ids in sequences]
        per_row.append(np.bincount(owner, minlength=len(block)))
    return Tokens(
        np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([[0], np.cumsum(np.concatenate(per_row) if per_row else [])]).astype(np.int64),
        pad,
    )


def join(*parts: Tokens) -> Tokens:
    """The rows of several splits, one after the other."""
    flat = np.concatenate([part.flat for part in parts])
    return Tokens(flat, _chain([part.start for part in parts]), _chain([part.first for part in parts]), parts[0].pad)


def _chain(offsets: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.concatenate([np.diff(offset) for offset in offsets]))]).astype(np.int64)
