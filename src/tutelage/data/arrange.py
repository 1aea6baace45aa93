"""Which clean rows of each role enter which split: duplicates, overlap, splits made from training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.data import split as splitting
from tutelage.data.spool import Spool
from tutelage.errors import DataError
from tutelage.recipe import DataRecipe
from tutelage.tasks import Task

FEWEST_ROWS = 10
"""Rows a split must have: with fewer, no figure measured on it means anything."""
_SAME = 0.5  # a test of which more than this share is in training measures memory, not skill
_LISTED = 5


@dataclass
class Part:
    """One role's rows, and where they go: `split` (N,) holds a split's name, or "" for a row left out."""

    spool: Spool
    targets: NDArray[np.float64]
    split: NDArray[Any]
    counts: dict[str, int] = field(default_factory=dict)
    """duplicates, conflicts, overlap."""


def arrange(
    task: Task, spools: Mapping[str, Spool], data: DataRecipe, *, judged: bool = False, seed: int
) -> dict[str, Part]:
    """Decide about every row. Raises `DataError` for an unknown label, a leaking test, or too few rows.

    With `judged` a share of train is kept aside for judging the candidates of a search: validation cannot, since
    every candidate was chosen on it.
    """
    parts = {}
    for role, spool in spools.items():
        targets = _targets(task, spool) if role != "unlabelled" else np.full(len(spool), np.nan)
        parts[role] = Part(spool, targets, np.full(len(spool), role, dtype=object))
    ids = dict(zip(parts, splitting.ids_of([part.spool.keys for part in parts.values()]), strict=True))
    _refuse_leaks(parts, ids)
    for role, part in parts.items():
        part.counts = {"duplicates": 0, "conflicts": 0, "overlap": 0}
        if data.deduplicate:
            _drop_duplicates(part, ids[role])
    if data.deduplicate:
        _drop_overlap(parts, ids)
    _make_missing(task, parts, data, judged=judged, seed=seed)
    for name in ("train", "validation", "test", *(["judge"] if judged else [])):
        rows = sum(int((part.split == name).sum()) for part in parts.values())
        if rows < FEWEST_ROWS:
            raise _too_few(name, rows)
    return parts


def _targets(task: Task, spool: Spool) -> NDArray[np.float64]:
    known: dict[Any, float] = {}
    unseen: Counter[str] = Counter()
    targets = np.empty(len(spool))
    for row, label in enumerate(spool.labels):
        try:
            if label not in known:
                known[label] = task.encode(label)
            targets[row] = known[label]
        except ValueError:
            unseen[str(label)] += 1
    if unseen:
        listed = ", ".join(f"{label!r} ({count:,} rows)" for label, count in unseen.most_common(_LISTED))
        more = f" and {len(unseen) - _LISTED:,} more" if len(unseen) > _LISTED else ""
        raise DataError(
            f"labels of {spool.role} that never occur in train: {listed}{more}",
            expected="every label to be learnt from at least one training row",
            cure=f"add rows with them to train, or correct or remove them in {spool.role}",
        )
    return targets


def _refuse_leaks(parts: Mapping[str, Part], ids: Mapping[str, NDArray[np.int64]]) -> None:
    for role, other in (("test", "train"), ("test", "validation"), ("validation", "train")):
        if role in parts and other in parts and len(ids[role]):
            shared = int(np.isin(ids[role], ids[other]).sum())
            if shared > _SAME * len(ids[role]):
                raise DataError(
                    f"{shared:,} of the {len(ids[role]):,} rows of {role} are in {other} too: "
                    f"a {other} file was used as {role}",
                    expected=f"texts in {role} that {other} does not hold",
                    cure=f"give another file as `data.{role}`, or none: then a share of train is taken",
                )


def _drop_duplicates(part: Part, ids: NDArray[np.int64]) -> None:
    targets = np.where(np.isnan(part.targets), 0.0, part.targets)
    found = splitting.unique(ids, targets)
    part.split[~found.keep] = ""
    part.counts |= {"duplicates": found.duplicates, "conflicts": found.conflicts}


def _drop_overlap(parts: Mapping[str, Part], ids: Mapping[str, NDArray[np.int64]]) -> None:
    """Each text stays in the most precious split that holds it: test, then validation, train, unlabelled."""
    taken = np.empty(0, dtype=np.int64)
    for role in ("test", "validation", "train", "unlabelled"):
        if role in parts:
            part = parts[role]
            shared = np.isin(ids[role], taken) & (part.split != "")
            part.split[shared] = ""
            part.counts["overlap"] = int(shared.sum())
            taken = np.concatenate([taken, ids[role]])


def _make_missing(task: Task, parts: Mapping[str, Part], data: DataRecipe, *, judged: bool, seed: int) -> None:
    part = parts["train"]
    kept = np.flatnonzero(part.split == "train")
    given = {"test": data.test_share, "validation": data.validation_share}
    if judged:
        given["judge"] = data.judge_share
    shares = {name: share for name, share in given.items() if name not in parts}
    if not shares:
        return
    for name, share in shares.items():
        if share == 0:
            raise DataError(
                f"there is no `data.{name}`, and `data.{name}_share` is 0",
                expected=f"rows for {name}",
                cure="give a share above 0" if name == "judge" else f"give `data.{name}`, or a share above 0",
            )
    if len(kept) < FEWEST_ROWS * (len(shares) + 1):
        raise _too_few(f"train, of which {' and '.join(shares)} must be taken,", len(kept))
    shares = {name: max(share, FEWEST_ROWS / len(kept)) for name, share in shares.items()}
    if sum(shares.values()) >= 1:
        raise DataError(
            f"the shares of {' and '.join(shares)} leave nothing for train",
            expected="shares that add up to less than 1",
            cure=f"lower {' or '.join(f'`data.{name}_share`' for name in shares)}",
        )
    strata = task.strata(part.targets[kept])
    keys = [part.spool.keys[row].tobytes() for row in kept]
    if data.group:
        groups = [part.spool.groups[row] for row in kept]
        part.split[kept] = splitting.grouped(groups, strata, shares=shares, seed=seed)
    else:
        part.split[kept] = splitting.stratified(keys, strata, shares=shares, seed=seed)


def _too_few(name: str, rows: int) -> DataError:
    return DataError(
        f"{name} has only {rows:,} usable rows",
        expected=f"at least {FEWEST_ROWS} rows in each of train, validation and test",
        cure="add rows, or change `data.validation_share`, `data.test_share` or, for a search, `data.judge_share`",
    )
