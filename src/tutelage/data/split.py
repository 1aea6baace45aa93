"""Which row goes where: duplicates, overlap between splits, and the splits themselves.

All functions take and give arrays, one entry a row (N,), and know nothing of files. Rows are known by `ids`:
integers that are equal where the texts are equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
# Below so many rows a class stays in training: it cannot be in all three splits.
_DIVISIBLE = 3


class Unique(NamedTuple):
    """What `unique` found."""

    keep: Mask
    duplicates: int
    """Rows dropped."""
    conflicts: int
    """Texts that occur with different targets."""


def ids_of(keys: Sequence[NDArray[np.void]]) -> list[Ids]:
    """Number the keys of several lists of rows alike: equal keys, equal numbers."""
    joined = np.concatenate(keys) if keys else np.empty(0, dtype="V16")
    numbers = np.unique(joined, return_inverse=True)[1].astype(np.int64).reshape(-1)
    ends = np.cumsum([len(part) for part in keys])
    return [np.asarray(part) for part in np.split(numbers, ends[:-1])] if keys else []


def unique(ids: Ids, targets: NDArray[np.float64]) -> Unique:
    """Keep one row of each text: the first with the target most of its copies have (a tie: the earliest)."""
    if not len(ids):
        return Unique(np.zeros(0, dtype=bool), 0, 0)
    values = np.unique(targets, return_inverse=True)[1].astype(np.int64).reshape(-1)
    pairs = ids * (values.max() + 1) + values
    _, first, count = np.unique(pairs, return_index=True, return_counts=True)
    order = np.lexsort((first, -count, ids[first]))
    texts, place, variants = np.unique(ids[first][order], return_index=True, return_counts=True)
    keep = np.zeros(len(ids), dtype=bool)
    keep[first[order][place]] = True
    return Unique(keep, len(ids) - len(texts), int((variants > 1).sum()))


def ranks(units: Sequence[bytes], seed: int) -> NDArray[np.uint64]:
    """A pseudo-random number for each unit that depends on nothing but the unit and the seed."""
    salt = f"split-{seed}".encode()
    digest = b"".join(hashlib.blake2b(unit, digest_size=8, key=salt).digest() for unit in units)
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def stratified(
    units: Sequence[bytes], strata: NDArray[np.int64], *, shares: Mapping[str, float], seed: int
) -> NDArray[Any]:
    """Name the split (N,) of each row: those in `shares`, the rest "train"; each stratum keeps the shares.

    A row's luck comes from its own content: neither the order of the rows nor a few rows more reshuffle the
    splits. A stratum with a row for each split is in every one, if the split's share comes to a row or the stratum
    has three. Rows with equal units go together.
    """
    distinct, owner = _distinct(units)
    stratum = strata[_first_rows(owner, len(distinct))]
    order = np.lexsort((ranks(distinct, seed), stratum))
    counts = np.unique(stratum, return_counts=True)[1]
    quotas = {name: _apportion(counts, share) for name, share in shares.items()}
    split = np.full(len(distinct), "train", dtype=object)
    start = 0
    for index, count in enumerate(counts.tolist()):
        taken = start
        for later, (name, quota) in enumerate(quotas.items()):
            # One row of the stratum is left for training, and one for each split still to come.
            room = start + count - taken - (len(quotas) - later)
            amount = max(min(int(quota[index]), room), 0)
            split[order[taken : taken + amount]] = name
            taken += amount
        start += count
    return np.asarray(split[owner])


def grouped(
    groups: Sequence[bytes], strata: NDArray[np.int64], *, shares: Mapping[str, float], seed: int
) -> NDArray[Any]:
    """The same for rows of which equal groups must stay together: shares are kept as well as groups allow.

    Greedy, the largest groups first, each to the split that lacks most of what it holds, of those that it does not
    overfill (after Sechidis et al. 2011, "On the stratification of multi-label data").
    """
    distinct, owner = _distinct(groups)
    kinds, stratum = np.unique(strata, return_inverse=True)
    held = np.zeros((len(distinct), len(kinds)))
    np.add.at(held, (owner, stratum.reshape(-1)), 1)
    names = [*shares, "train"]
    portion = np.array([*shares.values(), 1 - sum(shares.values())])
    total = held.sum(0)
    lacking = portion[:, None] * total[None, :]
    order = np.lexsort((ranks(distinct, seed), -held.sum(1)))
    chosen = np.empty(len(distinct), dtype=np.int64)
    filled = np.zeros(len(names), dtype=np.int64)
    for place, group in enumerate(order):
        # Relative to what a split should get: the small splits are served as well as the large one.
        need = (lacking / (portion[:, None] * total[None, :])) @ held[group]
        left = lacking.sum(1)
        room = left >= held[group].sum()
        taken = int(np.where(room, need, -np.inf).argmax() if room.any() else left.argmax())
        # No split stays empty where there are groups enough.
        empty = filled == 0
        if empty.sum() >= len(order) - place:
            taken = int(np.where(empty, need, -np.inf).argmax())
        chosen[group] = taken
        filled[taken] += 1
        lacking[chosen[group]] -= held[group]
    return np.asarray(np.array(names, dtype=object)[chosen][owner])


def _apportion(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Whole rows per stratum that add up to the share, by largest remainder; one at least of three."""
    exact = counts * share
    quota = np.floor(exact).astype(np.int64)
    missing = round(float(exact.sum())) - int(quota.sum())
    quota[np.argsort(-(exact - quota), kind="stable")[:missing]] += 1
    return np.where(counts >= _DIVISIBLE, np.maximum(quota, 1), 0)


def _distinct(units: Sequence[bytes]) -> tuple[list[bytes], NDArray[np.int64]]:
    known: dict[bytes, int] = {}
    owner = np.fromiter((known.setdefault(unit, len(known)) for unit in units), dtype=np.int64, count=len(units))
    return list(known), owner


def _first_rows(owner: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    first = np.empty(count, dtype=np.int64)
    first[owner[::-1]] = np.arange(len(owner))[::-1]
    return first
