"""CSV and TSV: the first line names the columns; a row with another number of fields is a bad row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from tutelage import separated
from tutelage.data.sources.locate import Place, suffix_of
from tutelage.data.sources.table import EXCERPT, Problem, Record, Table
from tutelage.data.sources.text_file import check_encoding, open_text
from tutelage.separated import Dialect


def open_table(place: Place, *, encoding: str, tolerance: float) -> Table:
    """Read the header and prepare to stream the rows. Raises `DataError` for a wrong encoding."""
    path = place.path
    check_encoding(path, encoding, tolerance=tolerance)
    opened = partial(open_text, path, encoding, newline="")
    dialect = separated.dialect(opened, tabs=suffix_of(path) == ".tsv")
    with opened() as file:
        header = next(separated.rows(path, file, dialect), [])
    columns = tuple(name.strip() for name in header)
    return Table(place.source, columns, partial(_records, path, opened, dialect, columns))


def _records(
    path: Path, opened: Callable[[], IO[str]], dialect: Dialect, columns: tuple[str, ...], names: Sequence[str]
) -> Iterator[Record]:
    where = {name: columns.index(name) for name in names}
    width = len(columns)
    with opened() as file:
        number = -1  # the header
        for fields in separated.rows(path, file, dialect):
            if not fields:  # a blank line is no row
                continue
            number += 1
            if number == 0:
                continue
            if len(fields) == width:
                yield Record(number, {name: fields[index] for name, index in where.items()})
            else:
                detail = f"{len(fields)} instead of {width}"
                excerpt = dialect.delimiter.join(field[:EXCERPT] for field in fields[:EXCERPT])[:EXCERPT]
                yield Record(number, {}, Problem("wrong number of fields", detail), excerpt)
