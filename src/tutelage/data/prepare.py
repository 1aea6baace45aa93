"""From the files a recipe names to a corpus: read, clean, quarantine, arrange, write."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage import storage
from tutelage.artifacts.corpus import ALSO, DESCRIPTION, MORE, Corpus, content_key
from tutelage.artifacts.mixture import Mixture
from tutelage.data.arrange import Part, arrange, cure_of
from tutelage.data.clean import clean_label, clean_text
from tutelage.data.given import Given, NoEntry, given
from tutelage.data.health import measure
from tutelage.data.identity import fingerprint_sources
from tutelage.data.quarantine import FILE, Quarantine, quarantine
from tutelage.data.read import Row, read
from tutelage.data.sources.locate import locate
from tutelage.data.sources.table import Problem
from tutelage.data.spool import Spool
from tutelage.data.write import write_splits
from tutelage.errors import DataError
from tutelage.progress import Progress
from tutelage.recipe import Recipe
from tutelage.recipe_data import DataRecipe, label_key
from tutelage.tasks import TASKS, Task

__all__ = ["fingerprint_sources", "prepare"]

Keys = NDArray[np.void]
_STEP = 1000  # rows between two signs of life


def prepare(
    recipe: Recipe,
    folder: Path,
    progress: Progress,
    *,
    left_at: Path | None = None,
    apart: Keys | None = None,
    tested: bool = True,
    key: str = "data",
) -> Corpus:
    """Make the corpus of a recipe in `folder`, whole or not at all.

    Bad rows are listed in `quarantine.jsonl` there. When the data cannot be used, a `DataError` says why, and
    the list is left at `left_at` (default: beside `folder`). Texts whose keys are `apart` (N,) are left out; without
    `tested` there is no test. `key` is what the recipe calls this part of it.
    """
    left_at = left_at or folder.parent / FILE
    data, unlabelled = recipe.data, recipe.teacher.zero_shot
    named = given(data, key=key, taught=unlabelled is None)
    _refuse_same_file(named)
    names = list(dict.fromkeys(source for one in named.values() for source in one.sources))
    with storage.whole_folder(folder) as partial:
        with quarantine(partial / FILE, left_at) as bad:
            reader = _Reader(TASKS[recipe.task], data, bad, names)
            spools = {role: reader.spool(one, partial, progress) for role, one in named.items()}
            reader.refuse(left_at)
            kind = TASKS[recipe.task]
            task = kind.named(list(unlabelled.labels)) if unlabelled else kind.fit(spools["train"].labels)
            wanted = ["validation"] + ["test"] * tested + ["judge"] * recipe.student.searches
            parts = arrange(task, spools, data, wanted=wanted, apart=apart, seed=recipe.seed)
        mixture = _mixture(parts, data, recipe.seed)
        # Targets are numbers: what they mean is the task's to say.
        fingerprint = storage.fingerprint_of(write_splits(partial, parts, names), task.to_dict())
        health = measure(task, parts, bad, data, mixture)
        for spool in spools.values():
            spool.discard()
        description = {
            "task": task.to_dict(),
            "splits": list(health["splits"]),
            "others": {f"{ALSO}{number}": other.title for number, other in enumerate(data.also_test or [])},
            "mixture": mixture and mixture.as_dict(),
            "fingerprint": storage.fingerprint_of(fingerprint, mixture.as_dict()) if mixture else fingerprint,
            "health": health,
        }
        text = json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False)
        (partial / DESCRIPTION).write_text(text, encoding="utf-8")
    left_at.unlink(missing_ok=True)  # of an attempt before this one
    return Corpus.load(folder)


class _Reader:
    """Reads the rows of each role, the good ones to a spool, the bad ones to the quarantine."""

    def __init__(self, task: type[Task], data: DataRecipe, bad: Quarantine, names: list[str]) -> None:
        self._task, self._data, self._bad = task, data, bad
        self._index = {name: index for index, name in enumerate(names)}
        self._unusable: list[Any] = []

    def spool(self, one: Given, folder: Path, progress: Progress) -> Spool:
        """All rows of a data set."""
        data, role = self._data, one.role
        rows = read(
            one.sources,
            one.columns,
            role=role,
            encoding=data.encoding,
            tolerance=data.max_bad_rows,
            keys=one.keys,
            split=one.split,
        )
        with Spool(folder / f"spool-{role}.arrow", role) as spool, _counting(progress, role) as count:
            for row in rows:
                self._bad.read[role] += 1
                problem = self._take(row, one, spool)
                if problem:
                    self._bad.add(role, row, problem)
                count(self._bad.read[role])
        return spool

    def refuse(self, left_at: Path) -> None:
        """Raise `DataError` when too many rows are bad."""
        if len(self._unusable) > self._bad.read["train"] / 2:
            # Not bad rows but the wrong column or the wrong task: the task knows best what to say.
            self._task.fit(self._unusable)
        self._bad.refuse(self._data.max_bad_rows, left_at)

    def _take(self, row: Row, one: Given, spool: Spool) -> Problem | None:
        if row.problem:
            return row.problem
        data = self._data
        text = clean_text(row.text, normalise=data.normalise, max_characters=data.max_characters)
        if isinstance(text, Problem):
            return text
        label = None
        if one.labelled:
            problem = clean_label(row.label)
            if problem:
                return problem
            ours = _ours(row.label, one)
            if ours is None:
                self._bad.left_out[one.role] += 1
                return None
            try:
                label = ours if isinstance(ours, NoEntry) else self._task.parse(ours)
            except ValueError as error:
                if one.role == "train":
                    self._unusable.append(row.label)
                return Problem("unusable label", str(error))
        key = content_key(text)
        source = self._index[row.source]
        group = _group(row.group, key) if data.group else b""
        spool.add(text, key=key, source=source, number=row.number, label=label, group=group)
        return None


def _group(value: Any, key: bytes) -> bytes:
    """A row without a group is a group of its own."""
    missing = value is None or value == "" or (isinstance(value, float) and math.isnan(value))
    return key if missing else f"group {value}".encode(errors="surrogatepass")


def _ours(label: Any, one: Given) -> Any:
    """A raw label as the task's own; None where its rows are left out."""
    if one.labels is None:
        return label
    key = label_key(label)
    return one.labels[key] if key in one.labels else NoEntry(key)


def _mixture(parts: Mapping[str, Part], data: DataRecipe, seed: int) -> Mixture | None:
    """How often the rows of each data set to train on are drawn; None where each is once an epoch."""
    rows = [int((parts["train"].split == "train").sum())]
    rows += [int((part.split == role).sum()) for role, part in parts.items() if role.startswith(MORE)]
    weights = [1.0, *(one.weight for one in data.more or [])]
    return Mixture.of(rows, weights, temperature=data.sampling_temperature, seed=seed)


def _refuse_same_file(named: Mapping[str, Given]) -> None:
    seen: dict[tuple[str, Any], str] = {}
    for role, one in named.items():
        for source in one.sources:
            place = locate(source)
            # Of a saved dataset or a hub id without a split, each role takes its own.
            split = place.split or (one.split if place.kind in ("saved", "hub") else None)
            first = seen.setdefault((str(place.path.resolve()), split), role)
            if role not in (first, "unlabelled"):
                raise DataError(
                    f"{source} is both `data.{first}` and `data.{role}`: a {first} file used as {role}",
                    expected="different files",
                    cure=cure_of(role),
                )
            if first == role and one.sources.count(source) > 1:
                raise DataError(f"{source} is listed twice in `data.{role}`", cure="list it once")


@contextmanager
def _counting(progress: Progress, role: str) -> Iterator[Any]:
    """A bar without an end, for the number of rows is known only after the last."""
    with progress.bar(f"Reading {role}", 0) as bar:

        def count(rows: int) -> None:
            if rows % _STEP == 0:
                bar.advance(_STEP, f"{rows:,} rows")

        yield count
