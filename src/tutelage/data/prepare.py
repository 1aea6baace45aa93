"""From the files a recipe names to a corpus: read, clean, quarantine, arrange, write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tutelage import storage
from tutelage.artifacts.corpus import DESCRIPTION, SPLITS, Corpus, content_key
from tutelage.data.arrange import arrange
from tutelage.data.clean import clean_label, clean_text
from tutelage.data.health import measure
from tutelage.data.identity import fingerprint_sources
from tutelage.data.quarantine import FILE, Quarantine, quarantine
from tutelage.data.read import Columns, Row, read
from tutelage.data.sources.locate import locate
from tutelage.data.sources.table import Problem
from tutelage.data.spool import Spool
from tutelage.data.write import write_splits
from tutelage.errors import DataError
from tutelage.progress import Progress
from tutelage.recipe import DataRecipe, Recipe
from tutelage.tasks import TASKS, Task

__all__ = ["fingerprint_sources", "prepare"]

_STEP = 1000  # rows between two signs of life


def prepare(recipe: Recipe, folder: Path, progress: Progress, *, left_at: Path | None = None) -> Corpus:
    """Make the corpus of a recipe in `folder`, whole or not at all.

    Bad rows are listed in `quarantine.jsonl` there. When the data cannot be used, a `DataError` says why, and
    the list is left at `left_at` (default: beside `folder`).
    """
    left_at = left_at or folder.parent / FILE
    data, sources = recipe.data, _sources(recipe.data)
    _refuse_same_file(sources)
    names = list(dict.fromkeys(source for given in sources.values() for source in given))
    with storage.whole_folder(folder) as partial:
        with quarantine(partial / FILE, left_at) as bad:
            reader = _Reader(TASKS[recipe.task], data, bad, names)
            spools = {role: reader.spool(role, given, partial, progress) for role, given in sources.items()}
            reader.refuse(left_at)
            task = TASKS[recipe.task].fit(spools["train"].labels)
            parts = arrange(task, spools, data, judged=recipe.student.searches, seed=recipe.seed)
        fingerprint = write_splits(partial, parts, names)
        health = measure(task, parts, bad, data)
        for spool in spools.values():
            spool.discard()
        description = {
            "task": task.to_dict(),
            "splits": list(health["splits"]),
            "fingerprint": fingerprint,
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

    def spool(self, role: str, sources: list[str], folder: Path, progress: Progress) -> Spool:
        """All rows of a role."""
        data = self._data
        label = None if role == "unlabelled" else data.label
        columns = Columns(data.text, label, data.group if role == "train" else None)
        rows = read(sources, columns, role=role, encoding=data.encoding, tolerance=data.max_bad_rows)
        with Spool(folder / f"spool-{role}.arrow", role) as spool, _counting(progress, role) as count:
            for row in rows:
                self._bad.read[role] += 1
                problem = self._take(row, spool)
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

    def _take(self, row: Row, spool: Spool) -> Problem | None:
        if row.problem:
            return row.problem
        data = self._data
        text = clean_text(row.text, normalise=data.normalise, max_characters=data.max_characters)
        if isinstance(text, Problem):
            return text
        label = None
        if spool.role != "unlabelled":
            problem = clean_label(row.label)
            if problem:
                return problem
            try:
                label = self._task.parse(row.label)
            except ValueError as error:
                if spool.role == "train":
                    self._unusable.append(row.label)
                return Problem("unusable label", str(error))
        key = content_key(text)
        source = self._index[row.source]
        group = _group(row.group, key) if data.group else b""
        spool.add(text, key=key, source=source, number=row.number, label=label, group=group)
        return None


def _group(value: Any, key: bytes) -> bytes:
    """A row without a group is a group of its own."""
    return key if value is None or value == "" else f"group {value}".encode(errors="surrogatepass")


def _sources(data: DataRecipe) -> dict[str, list[str]]:
    given = {role: getattr(data, role, None) for role in SPLITS}
    return {role: sources for role, sources in given.items() if sources}


def _refuse_same_file(sources: Mapping[str, list[str]]) -> None:
    seen: dict[tuple[str, Any], str] = {}
    for role, given in sources.items():
        for source in given:
            place = locate(source)
            # Of a saved dataset or a hub id without a split, each role takes its own.
            split = place.split or (role if place.kind in ("saved", "hub") else None)
            first = seen.setdefault((str(place.path.resolve()), split), role)
            if role not in (first, "unlabelled"):
                raise DataError(
                    f"{source} is both `data.{first}` and `data.{role}`: a {first} file used as {role}",
                    expected="different files",
                    cure=f"give another file as `data.{role}`, or none: then a share of train is taken",
                )
            if first == role and given.count(source) > 1:
                raise DataError(f"{source} is listed twice in `data.{role}`", cure="list it once")


@contextmanager
def _counting(progress: Progress, role: str) -> Iterator[Any]:
    """A bar without an end, for the number of rows is known only after the last."""
    with progress.bar(f"Reading {role}", 0) as bar:

        def count(rows: int) -> None:
            if rows % _STEP == 0:
                bar.advance(_STEP, f"{rows:,} rows")

        yield count
