"""Rows of fields between delimiters (CSV, TSV), read alike where a file is learned from and where it is answered.

Standard library only.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from tutelage.errors import DataError

LONGEST_CELL = 1 << 24
"""Characters of one cell or line that are read at all (16 Mi): a runaway quote must not fill the memory."""
_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"(?:[^"]|"")*"?')


class Dialect(NamedTuple):
    """How a file is to be parsed."""

    delimiter: str
    quoting: Any


def dialect(opened: Callable[[], IO[str]], *, tabs: bool) -> Dialect:
    """That of a file, which is opened without translating line ends: its first line tells, unless it is said.

    The delimiter is that of `,`, `;`, `|` and the tab which the first line has most of, outside of quotes.
    """
    # The limit belongs to the csv module as a whole: it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    with opened() as file:
        first = file.readline(LONGEST_CELL)
    outside = _QUOTED.sub("", first)
    delimiter = "\t" if tabs else max(_DELIMITERS, key=outside.count)
    return Dialect(delimiter, _quoting(opened) if delimiter == "\t" else csv.QUOTE_MINIMAL)


def rows(path: Path, file: IO[str], dialect: Dialect) -> Iterator[list[str]]:
    """Lists of fields; a blank line has none. Raises `DataError` for a quote that is never closed: it swallows what
    follows."""
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


def _quoting(opened: Callable[[], IO[str]]) -> Any:
    """Many TSV files are never quoted, and a stray `"` that starts a field would swallow rows.

    Such a file has a line with an odd number of quotes though each line by itself has all its fields; where there is
    one field only, that tells nothing.
    """
    tabs, odd = None, False
    with opened() as file:
        while line := file.readline(LONGEST_CELL):
            count = line.count("\t")
            tabs = count if tabs is None else tabs
            if not tabs or (count != tabs and line.strip("\r\n")):
                return csv.QUOTE_MINIMAL
            odd = odd or line.count('"') % 2 == 1
    return csv.QUOTE_NONE if odd else csv.QUOTE_MINIMAL
