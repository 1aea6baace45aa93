"""What every source gives: named columns, and its records once through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

TEXT, LABEL = "text", "label"
EXCERPT = 200
"""Characters of a bad row that are shown and kept in the quarantine."""


class Problem(NamedTuple):
    """Why a row is bad: a kind that can be counted, and what is particular to this row."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


class Record(NamedTuple):
    """One raw row; with a problem, `fields` is empty and `excerpt` shows what was there."""

    number: int
    """From 1; of data rows in a table, of lines in JSON Lines and plain text."""
    fields: Mapping[str, Any]
    problem: Problem | None = None
    excerpt: str = ""
    place: str = ""
    """The file inside a folder."""


@dataclass(frozen=True)
class Table:
    """An opened source.

    `records(names)` streams the named columns. With `fixed`, the columns are named by the kind of source
    (`text`, `label`), whatever the recipe calls them.
    """

    name: str
    columns: tuple[str, ...]
    records: Callable[[Sequence[str]], Iterator[Record]]
    fixed: bool = False
