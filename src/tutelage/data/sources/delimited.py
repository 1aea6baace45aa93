"""CSV and TSV: the first line names the columns; a row with another number of fields is a bad row."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from tutelage.data.sources.locate import Place, suffix_of
from tutelage.data.sources.table import EXCERPT, LONGEST_CELL, Problem, Record, Table
from tutelage.data.sources.text_file import check_encoding, lines, open_text
from tutelage.errors import DataError

_DELIMITERS = ",;\t|"


class _Dialect(NamedTuple):
    delimiter: str
    quoting: Any


def open_table(place: Place, *, encoding: str, tolerance: float) -> Table:
    """Read the header and prepare to stream the rows. Raises `DataError` for a wrong encoding."""
    path = place.path
    check_encoding(path, encoding, tolerance=tolerance)
    # The limit belongs to the csv module as a whole: it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    with open_text(path, encoding, newline="") as file:
        first = file.readline(LONGEST_CELL)
        delimiter = "\t" if suffix_of(path) == ".tsv" else max(_DELIMITERS, key=first.count)
        file.seek(0)
        dialect = _Dialect(delimiter, _quoting(path, encoding, delimiter))
        header = next(_parsed(path, file, dialect), [])
    columns = tuple(name.strip() for name in header)
    return Table(place.source, columns, partial(_records, path, encoding, dialect, columns))


def _records(
    path: Path, encoding: str, dialect: _Dialect, columns: tuple[str, ...], names: Sequence[str]
) -> Iterator[Record]:
    where = {name: columns.index(name) for name in names}
    width = len(columns)
    with open_text(path, encoding, newline="") as file:
        number = -1  # the header
        for fields in _parsed(path, file, dialect):
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


def _parsed(path: Path, file: IO[str], dialect: _Dialect) -> Iterator[list[str]]:
    """Rows as lists of fields. Raises `DataError` for a quote that is never closed: it swallows what follows."""
    ended = False

    def bounded() -> Iterator[str]:
        # Bounded reads keep a file without line ends from becoming one enormous line.
        nonlocal ended
        yield from iter(partial(file.readline, LONGEST_CELL), "")
        ended = True

    reader = csv.reader(bounded(), delimiter=dialect.delimiter, quoting=dialect.quoting)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise _unclosed(path, line, str(error)) from error
        if fields is None:
            return
        if ended:  # the parser wanted more of this row when the file ended
            raise _unclosed(path, line, "the file ends inside a quoted field")
        yield fields


def _unclosed(path: Path, line: int, reason: str) -> DataError:
    return DataError(
        f"{path} cannot be parsed from line {line:,} on: {reason}",
        expected='a quoted field to be closed, and a `"` inside it to be doubled',
        cure="correct the quotes from that line on",
    )


def _quoting(path: Path, encoding: str, delimiter: str) -> Any:
    """Many TSV files are never quoted, and a stray `"` that starts a field would swallow rows.

    Such a file has a line with an odd number of quotes though each line by itself has all its fields.
    """
    if delimiter != "\t":
        return csv.QUOTE_MINIMAL
    tabs, odd = None, False
    for line in lines(path, encoding):
        count = line.text.count(delimiter)
        tabs = count if tabs is None else tabs
        if count != tabs and line.text:
            return csv.QUOTE_MINIMAL
        odd = odd or line.text.count('"') % 2 == 1
    return csv.QUOTE_NONE if odd else csv.QUOTE_MINIMAL
