"""Which clean rows of each role enter which split: duplicates, overlap, splits made from training."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.corpus import ALSO, MORE
from tutelage.data import split as splitting
from tutelage.data.given import OWN, NoEntry
from tutelage.data.spool import Spool
from tutelage.errors import DataError
from tutelage.recipe_data import DataRecipe
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
    task: Task,
    spools: Mapping[str, Spool],
    data: DataRecipe,
    *,
    wanted: Sequence[str],
    apart: NDArray[np.void] | None = None,
    seed: int,
) -> dict[str, Part]:
    """Decide about every row. Raises `DataError` for an unknown label, a leaking test, or too few rows.

    `wanted` are the splits there must be beside train. For `judge`, a share of train is kept aside for judging the
    candidates of a search: validation cannot, since every candidate was chosen on it. Texts whose keys are `apart`
    (N,) are left out.
    """
    targets = _all_targets(task, spools)
    parts = {
        role: Part(spool, targets[role], np.full(len(spool), role, dtype=object)) for role, spool in spools.items()
    }
    ids = dict(zip(parts, splitting.ids_of([part.spool.keys for part in parts.values()]), strict=True))
    _refuse_leaks(parts, ids)
    for role, part in parts.items():
        part.counts = {"duplicates": 0, "conflicts": 0, "overlap": 0}
        if data.deduplicate:
            _drop_duplicates(part, ids[role])
    _drop_overlap(parts, ids, own=data.deduplicate)
    if apart is not None:
        _drop_apart(parts, apart)
    _make_missing(task, parts, data, wanted=wanted, seed=seed)
    for name in ("train", *wanted):
        rows = sum(int((part.split == name).sum()) for part in parts.values())
        if rows < FEWEST_ROWS:
            raise _too_few(name, rows)
    _refuse_empty(parts)
    _refuse_one_target(task, parts, data)
    return parts


def _all_targets(task: Task, spools: Mapping[str, Spool]) -> dict[str, NDArray[np.float64]]:
    """The targets of every role. Raises `DataError` with every label of every role that cannot be one."""
    found: dict[str, NDArray[np.float64]] = {}
    unseen: dict[str, Counter[str]] = {}
    missing: dict[str, Counter[str]] = {}
    for role, spool in spools.items():
        if all(label is None for label in spool.labels):
            found[role] = np.full(len(spool), np.nan)
        else:
            found[role], unseen[role], missing[role] = _targets(task, spool)
    problems = [f"labels of {role} without an entry in its `labels`: {_listed(m)}" for role, m in missing.items() if m]
    # Of texts that have no label, the classes are known by name.
    named = "`teacher.zero_shot.labels`" if all(label is None for label in spools["train"].labels) else ""
    gone = f"that {named} does not name" if named else "that never occur in train"
    problems += [f"labels of {role} {gone}: {_listed(u)}" for role, u in unseen.items() if u]
    if not problems:
        return found
    wrong = [role for role in unseen if unseen[role] or missing[role]]
    expected, cures = [], []
    if own := " and ".join(role for role in wrong if role in OWN):
        expected.append("every label to be learnt from at least one training row")
        where = f"them to {named}" if named else "rows with them to train"
        cures.append(f"add {where}, or correct or remove them in {own}")
    if others := " and ".join(f"`data.{role}.labels`" for role in wrong if role not in OWN):
        ours = task.to_dict().get("labels") or []
        known = f" ({', '.join(ours[:_LISTED])}{' ...' if len(ours) > _LISTED else ''})" if ours else ""
        expected.append(f"an entry for every label of further data: one of ours{known}, or null")
        cures.append(f"map them in {others}; null leaves their rows out")
    raise DataError("; ".join(problems), expected="; ".join(expected), cure="; ".join(cures))


def _targets(task: Task, spool: Spool) -> tuple[NDArray[np.float64], Counter[str], Counter[str]]:
    """The targets of a role, the labels that training does not know, and those that a label map does not hold."""
    known: dict[Any, float] = {}
    unseen: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    targets = np.full(len(spool), np.nan)
    for row, label in enumerate(spool.labels):
        if isinstance(label, NoEntry):
            missing[label.label] += 1
            continue
        try:
            if label not in known:
                known[label] = task.encode(label)
            targets[row] = known[label]
        except ValueError:
            unseen[str(label)] += 1
    return targets, unseen, missing


def _listed(labels: Counter[str]) -> str:
    listed = ", ".join(f"{label!r} ({count:,} rows)" for label, count in labels.most_common(_LISTED))
    return listed + (f" and {len(labels) - _LISTED:,} more" if len(labels) > _LISTED else "")


def _refuse_empty(parts: Mapping[str, Part]) -> None:
    for role, part in parts.items():
        rows, least = int((part.split == role).sum()), FEWEST_ROWS if role.startswith(ALSO) else 1
        if role not in OWN and rows < least:
            dropped = ", ".join(f"{count:,} {name}" for name, count in part.counts.items() if count)
            raise DataError(
                f"{role} has {f'only {rows:,}' if rows else 'no'} usable rows" + (f" ({dropped})" if dropped else ""),
                expected=f"at least {least} with a text that other data of this run does not hold",
                cure=f"give another file as `data.{role}`, or look at `data.{role}.labels`",
            )


def _refuse_one_target(task: Task, parts: Mapping[str, Part], data: DataRecipe) -> None:
    """Raise `DataError` where all rows that are left to train on have the same target: nothing is learned of them."""
    left = [part.targets[part.split == name] for name, part in parts.items() if name.startswith(MORE)]
    targets = np.concatenate([*left, *(part.targets[part.split == "train"] for part in parts.values())])
    targets = targets[~np.isnan(targets)]
    if len(np.unique(targets)) != 1:
        return  # of none, labels come later
    labels = task.to_dict().get("labels")
    called = f"label {labels[int(targets[0])]!r}" if labels else f"value {targets[0]:g}"
    cure = "see that not every text of the others is in validation or test too"
    if data.group is not None:
        missing = [f"`data.{name}`" for name in ("validation", "test") if name not in parts]
        more = f"give {' and '.join(missing)}" if missing else "lower `data.judge_share`"
        cure = f"`data.group` keeps each group in one split, and too few groups have others: leave it out, or {more}"
    raise DataError(
        f"all {len(targets):,} rows that are left to train on have the {called}", expected="two at least", cure=cure
    )


def cure_of(role: str) -> str:
    """What to do about a file that must not play a role."""
    more = ", or none: then a share of train is taken" if role in OWN else ""
    return f"give another file as `data.{role}`{more}"


def _refuse_leaks(parts: Mapping[str, Part], ids: Mapping[str, NDArray[np.int64]]) -> None:
    elsewhere = [role for role in parts if role.startswith(ALSO)]
    seen = [role for role in parts if role != "test" and role not in elsewhere]
    pairs = [("test", "train"), ("test", "validation"), ("validation", "train"), *itertools.product(elsewhere, seen)]
    for role, other in pairs:
        if role in parts and other in parts and len(ids[role]):
            shared = int(np.isin(ids[role], ids[other]).sum())
            if shared > _SAME * len(ids[role]):
                raise DataError(
                    f"{shared:,} of the {len(ids[role]):,} rows of {role} are in {other} too: "
                    f"a {other} file was used as {role}",
                    expected=f"texts in {role} that {other} does not hold",
                    cure=cure_of(role),
                )


def _drop_duplicates(part: Part, ids: NDArray[np.int64]) -> None:
    targets = np.where(np.isnan(part.targets), 0.0, part.targets)
    found = splitting.unique(ids, targets)
    part.split[~found.keep] = ""
    part.counts |= {"duplicates": found.duplicates, "conflicts": found.conflicts}


def _drop_overlap(parts: Mapping[str, Part], ids: Mapping[str, NDArray[np.int64]], *, own: bool) -> None:
    """Each text stays in the most precious set that holds it: test, validation, train, further sets, unlabelled.

    Without `own`, only further sets give way: what the user's own data holds is never learned from elsewhere. What is
    only measured on besides gives way to everything: with it or without, a run learns the same.
    """
    taken = np.empty(0, dtype=np.int64)
    more = [role for role in parts if role.startswith(MORE)]
    elsewhere = [role for role in parts if role.startswith(ALSO)]
    for role in ("test", "validation", "train", *more, "unlabelled", *elsewhere):
        if role in parts:
            part = parts[role]
            if own or role not in OWN:
                shared = np.isin(ids[role], taken) & (part.split != "")
                part.split[shared] = ""
                part.counts["overlap"] = int(shared.sum())
            if role not in elsewhere:
                taken = np.concatenate([taken, ids[role]])


def _drop_apart(parts: Mapping[str, Part], apart: NDArray[np.void]) -> None:
    for part in parts.values():
        shared = np.isin(part.spool.keys, apart) & (part.split != "")
        part.split[shared] = ""
        part.counts["overlap"] += int(shared.sum())


def _make_missing(task: Task, parts: Mapping[str, Part], data: DataRecipe, *, wanted: Sequence[str], seed: int) -> None:
    part = parts["train"]
    kept = np.flatnonzero(part.split == "train")
    given = {"test": data.test_share, "validation": data.validation_share, "judge": data.judge_share}
    shares = {name: share for name, share in given.items() if name in wanted and name not in parts}
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
    if data.group:
        groups = [part.spool.groups[row] for row in kept]
        part.split[kept] = splitting.grouped(groups, strata, shares=shares, seed=seed)
    else:
        keys = [key.tobytes() for key in part.spool.keys[kept]]
        part.split[kept] = splitting.stratified(keys, strata, shares=shares, seed=seed)


def _too_few(name: str, rows: int) -> DataError:
    return DataError(
        f"{name} has only {rows:,} usable rows",
        expected=f"at least {FEWEST_ROWS} rows in each of train, validation and test",
        cure="add rows, or change `data.validation_share`, `data.test_share` or, for a search, `data.judge_share`",
    )
