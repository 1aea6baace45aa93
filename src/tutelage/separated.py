"""Rows of fields between delimiters (CSV, TSV), read alike where a file is learned from and where it is answered.

Standard library only.
"""

from __future__ import annotations

import csv
import itertools
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
# Excel's way to say what a file's fields are separated by, in the line before the header.
_SAID = re.compile(r'"?sep=(.)"?')


class Dialect(NamedTuple):
    """How a file is to be parsed."""

    delimiter: str
    quoting: Any
    before: int
    """Lines before the header: blank ones, and one that only names the delimiter."""


def dialect(opened: Callable[[], IO[str]], *, tabs: bool) -> Dialect:
    """That of a file, which is opened without translating line ends: its header tells, unless it is said.

    The delimiter is that of `,`, `;`, `|` and the tab which the header has most of, outside of quotes.
    """
    # The limit belongs to the csv module as a whole: it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    with opened() as file:
        before, said, header = _header(file)
    outside = _QUOTED.sub("", header)
    delimiter = "\t" if tabs else said or max(_DELIMITERS, key=outside.count)
    return Dialect(delimiter, _quoting(opened, before) if delimiter == "\t" else csv.QUOTE_MINIMAL, before)


def _header(file: IO[str]) -> tuple[int, str, str]:
    """How many lines come before the header, the delimiter that one of them names, and the header."""
    before, said = 0, ""
    while line := file.readline(LONGEST_CELL):
        named = _SAID.fullmatch(line.strip("\r\n"))
        if not named and line.strip("\r\n"):
            return before, said, line
        said = named[1] if named else said
        before += 1
    return before, said, ""


def rows(path: Path, file: IO[str], dialect: Dialect) -> Iterator[list[str]]:
    """Lists of fields; a blank line has none. Raises `DataError` for a quote that is never closed: it swallows what
    follows."""
    ended = False

    def bounded() -> Iterator[str]:
        nonlocal ended
        yield from _lines(file, dialect.before)
        ended = True

    # A blank before a quoted field belongs to neither; between tabs it may be all there is of a field.
    blanks = dialect.delimiter != "\t"
    reader = csv.reader(bounded(), delimiter=dialect.delimiter, quoting=dialect.quoting, skipinitialspace=blanks)
    while True:
        line = dialect.before + reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise _unclosed(path, line, str(error)) from error
        if fields is None:
            return
        if ended:  # the parser wanted more of this row when the file ended
            raise _unclosed(path, line, "the file ends inside a quoted field")
        yield fields


def _lines(file: IO[str], before: int) -> Iterator[str]:
    """The lines of a file from its header on."""
    # Bounded reads keep a file without line ends from becoming one enormous line.
    return itertools.islice(iter(partial(file.readline, LONGEST_CELL), ""), before, None)


def _unclosed(path: Path, line: int, reason: str) -> DataError:
    return DataError(
        f"{path} cannot be parsed from line {line:,} on: {reason}",
        expected='a quoted field to be closed, and a `"` inside it to be doubled',
        cure="correct the quotes from that line on",
    )


def _quoting(opened: Callable[[], IO[str]], before: int) -> Any:
    """Many TSV files are never quoted, and a stray `"` that starts a field would swallow rows.

    Such a file has more whole rows when it is read line by line than with quotes; where there is one field only, that
    tells nothing.
    """
    plain, tabs, quotes = 0, None, False
    with opened() as file:
        for line in _lines(file, before):
            tabs = line.count("\t") if tabs is None else tabs
            plain += line.count("\t") == tabs
            quotes = quotes or '"' in line
    if not tabs or not quotes:
        return csv.QUOTE_MINIMAL
    quoted, width = 0, None
    with opened() as file:
        try:
            for fields in csv.reader(_lines(file, before), delimiter="\t"):
                width = len(fields) if width is None else width
                quoted += len(fields) == width
        except csv.Error:  # a quote that is never closed has swallowed more than a cell may hold
            pass
    return csv.QUOTE_NONE if plain > quoted else csv.QUOTE_MINIMAL
