"""CSV and TSV: the first line names the columns; a row with another number of fields is a bad row."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from tutelage.data.sources.locate import Place
from tutelage.data.sources.table import EXCERPT, LONGEST_CELL, Problem, Record, Table
from tutelage.data.sources.text_file import check_encoding, lines, open_text

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
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(_DELIMITERS, key=first.count)
        file.seek(0)
        dialect = _Dialect(delimiter, _quoting(path, encoding, delimiter))
        header: list[str] = next(_reader(file, dialect), [])
    columns = tuple(name.strip() for name in header)
    return Table(place.source, columns, partial(_records, path, encoding, dialect, columns))


def _records(
    path: Path, encoding: str, dialect: _Dialect, columns: tuple[str, ...], names: Sequence[str]
) -> Iterator[Record]:
    where = {name: columns.index(name) for name in names}
    width = len(columns)
    with open_text(path, encoding, newline="") as file:
        reader = _reader(file, dialect)
        next(reader, None)
        number = 0
        while True:
            try:
                fields = next(reader, None)
            except csv.Error as error:
                number += 1
                yield Record(number, {}, Problem("cannot be parsed", str(error)))
                continue
            if fields is None:
                return
            if not fields:  # a blank line is no row
                continue
            number += 1
            if len(fields) == width:
                yield Record(number, {name: fields[index] for name, index in where.items()})
            else:
                detail = f"{len(fields)} instead of {width}"
                excerpt = dialect.delimiter.join(field[:EXCERPT] for field in fields[:EXCERPT])[:EXCERPT]
                yield Record(number, {}, Problem("wrong number of fields", detail), excerpt)


def _reader(file: IO[str], dialect: _Dialect) -> Any:
    # Bounded reads keep a file without line ends from becoming one enormous line.
    bounded = iter(partial(file.readline, LONGEST_CELL), "")
    return csv.reader(bounded, delimiter=dialect.delimiter, quoting=dialect.quoting)


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
