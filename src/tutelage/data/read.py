"""Raw rows out of any kind of source, one after the other; see `sources/`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from importlib import import_module
from typing import Any, NamedTuple

from tutelage.data.sources.locate import Place, locate
from tutelage.data.sources.table import LABEL, TEXT, Problem, Record, Table
from tutelage.errors import DataError

_SHOWN = 40  # characters of a column's name in a message: without a header, it may be a whole text


@dataclass(frozen=True)
class Columns:
    """The names of the columns to read; None where there is none."""

    text: str
    label: str | None = None
    group: str | None = None


KEYS = Columns("data.text", "data.label", "data.group")
"""What a message calls the keys of a recipe that name the columns, unless it is told otherwise."""


class Row(NamedTuple):
    """One raw row; with a problem, `text` is an excerpt of what was there."""

    source: str
    number: int
    text: Any
    label: Any = None
    group: Any = None
    problem: Problem | None = None
    place: str = ""
    """The file inside a folder."""


def read(
    sources: Sequence[str],
    columns: Columns,
    *,
    role: str,
    encoding: str = "utf-8",
    tolerance: float = 0.0,
    keys: Columns = KEYS,
    split: str | None = None,
) -> Iterator[Row]:
    """Stream all rows of several sources for a role (train, validation, test, unlabelled, text, more.0 ...).

    `keys` is what a message calls the keys that name the columns. `split` is the role whose split of a saved data set
    is taken, if it is another's. `tolerance` is the share of lines that may fail to decode before the encoding counts
    as wrong.
    Raises `DataError` for whatever keeps a source as a whole from being read.
    """
    for source in sources:
        place = locate(source)
        table = open_table(place, role=split or role, encoding=encoding, tolerance=tolerance)
        yield from _rows(table, _resolve(table, columns, role=role, keys=keys))


def open_table(place: Place, *, role: str, encoding: str, tolerance: float) -> Table:
    """Open a source of any kind with all its columns. Raises `DataError`."""
    module = import_module(f"tutelage.data.sources.{place.kind}")
    try:
        if place.kind in ("saved", "hub"):
            table: Table = module.open_table(place, role=role)
        else:
            table = module.open_table(place, encoding=encoding, tolerance=tolerance)
    except PermissionError as error:
        raise DataError(f"{place.path} cannot be read: permission denied", cure="change its mode") from error
    return table


def _rows(table: Table, columns: Columns) -> Iterator[Row]:
    names = list(dict.fromkeys(name for name in (columns.text, columns.label, columns.group) if name))
    empty = True
    for record in table.records(names):
        empty = False
        yield _row(table.name, record, columns)
    if empty:
        raise DataError(f"{table.name} has no rows", expected="at least one row after the header")


def _row(source: str, record: Record, columns: Columns) -> Row:
    number, fields, problem, excerpt, place = record
    if problem:
        return Row(source, number, excerpt, None, None, problem, place)
    label = fields[columns.label] if columns.label else None
    group = fields[columns.group] if columns.group else None
    return Row(source, number, fields[columns.text], label, group, None, place)


def _resolve(table: Table, columns: Columns, *, role: str, keys: Columns) -> Columns:
    """The columns under the names this table has. Raises `DataError` when one is missing."""
    if table.fixed:
        columns = Columns(TEXT, LABEL if columns.label else None, columns.group)
        if columns.label and LABEL not in table.columns:
            raise DataError(
                f"{table.name} is plain text, which has no labels",
                expected=f"a table, or a folder of class folders, for `data.{role}`",
                cure="plain lines can be given as `data.unlabelled`",
            )
    for key, name in zip(astuple(keys), astuple(columns), strict=True):
        if name:
            _check_column(table, name, key)
    return columns


def _check_column(table: Table, name: str, key: str) -> None:
    if table.columns.count(name) == 1:
        return
    listed = ", ".join(repr(column[:_SHOWN]) for column in table.columns) or "none"
    if name in table.columns:
        raise DataError(
            f"{table.name} has the column {name!r} twice",
            expected="columns with different names",
            cure="rename one",
        )
    lower = {column.lower().strip(): column for column in table.columns}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    cure = f"did you mean `{key}: {lower[near[0]]}`?" if near else f"set `{key}` to one of these"
    raise DataError(f"{table.name} has no column {name!r}", expected=f"one of its columns: {listed}", cure=cure)
