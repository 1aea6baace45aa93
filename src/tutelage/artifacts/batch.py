"""Batches: rows of similar length together, padded to the longest among them and no further."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.artifacts.tokens import Tokens

# Rows are sorted by length inside pools of this many batches: short enough to stay random, long enough that
# padding nearly vanishes (under 6 % of the tokens for lengths of 5 to 60: held by a test).
_POOL = 50


@dataclass(frozen=True)
class Batch:
    """B rows as S padded sequences of T tokens."""

    input_ids: torch.Tensor
    """(S, T) int64."""
    attention_mask: torch.Tensor
    """(S, T) int64, 1 on real tokens."""
    owner: torch.Tensor | None
    """(S,) row of each sequence; None when every row is one sequence."""
    rows: int

    def pool(self, values: torch.Tensor) -> torch.Tensor:
        """Average what belongs to sequences (S, ...) over each row -> (B, ...)."""
        if self.owner is None:
            return values
        total = values.new_zeros((self.rows, *values.shape[1:])).index_add_(0, self.owner, values)
        count = torch.bincount(self.owner, minlength=self.rows).to(values.dtype)
        return total / count.view(-1, *[1] * (values.ndim - 1))


def plan(lengths: NDArray[np.int64], *, batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """The batches of one epoch as row numbers: each row once, a function of (seed, epoch) alone.

    Every epoch has as many batches.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    batches = []
    for begin in range(0, len(order), batch_size * _POOL):
        pool = order[begin : begin + batch_size * _POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


def by_length(lengths: NDArray[np.int64], *, tokens: int, most_rows: int = 256) -> list[NDArray[np.int64]]:
    """All rows in batches of at most `tokens` padded tokens (or one row), longest first: for inference.

    Longest first, so that memory that does not suffice shows at once.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, begin = [], 0
    while begin < len(order):
        size = int(np.clip(tokens // max(int(lengths[order[begin]]), 1), 1, most_rows))
        batches.append(order[begin : begin + size])
        begin += size
    return batches


def collate(tokens: Tokens, rows: NDArray[np.int64], *, device: torch.device | str = "cpu") -> Batch:
    """Put some rows together, padded to the longest sequence among them."""
    counts = tokens.first[rows + 1] - tokens.first[rows]
    owner = np.repeat(np.arange(len(rows)), counts)
    # Every sequence of every row, in order: its row's first, plus its place among that row's.
    inside = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    sequences = tokens.first[rows][owner] + inside
    lengths = tokens.start[sequences + 1] - tokens.start[sequences]
    places = np.arange(max(int(lengths.max(initial=1)), 1))
    mask = places < lengths[:, None]
    ids = np.full(mask.shape, tokens.pad, dtype=np.int64)
    ids[mask] = tokens.flat[(tokens.start[sequences][:, None] + places)[mask]]
    return Batch(
        torch.from_numpy(ids).to(device),
        torch.from_numpy(mask.astype(np.int64)).to(device),
        None if len(owner) == len(rows) else torch.from_numpy(owner).to(device),
        len(rows),
    )
