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
    blanks: bool
    """Whether blanks behind a delimiter are no part of the fields."""


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
    if delimiter == "\t":  # between tabs a blank may be all there is of a field
        return Dialect(delimiter, _quoting(opened, before), before, blanks=False)
    return Dialect(delimiter, csv.QUOTE_MINIMAL, before, blanks=_blanks(opened, before, delimiter))


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

    reader = csv.reader(
        bounded(), delimiter=dialect.delimiter, quoting=dialect.quoting, skipinitialspace=dialect.blanks
    )
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

    Such a file has all its fields in each line, and a line with an odd number of quotes. Else, where every row is whole
    with quotes, they are quotes; and where a file is whole in neither way, more rows decide. Where there is one field
    only, that tells nothing.
    """
    plain, torn, tabs, quotes, odd = 0, 0, None, False, False
    with opened() as file:
        for line in _lines(file, before):
            count = line.count("\t")
            tabs = count if tabs is None else tabs
            plain += count == tabs
            torn += count != tabs and bool(line.strip("\r\n"))
            quotes, odd = quotes or '"' in line, odd or line.count('"') % 2 == 1
    if tabs and odd and not torn:
        return csv.QUOTE_NONE
    if not tabs or not quotes or _whole(opened, before, "\t"):
        return csv.QUOTE_MINIMAL
    return csv.QUOTE_NONE if plain > _quoted(opened, before) else csv.QUOTE_MINIMAL


def _quoted(opened: Callable[[], IO[str]], before: int) -> int:
    """How many rows of a TSV file have as many fields as its header, read with quotes."""
    found, width = 0, None
    with opened() as file:
        try:
            for fields in csv.reader(_lines(file, before), delimiter="\t"):
                width = len(fields) if width is None else width
                found += len(fields) == width
        except csv.Error:  # a quote that is never closed has swallowed more than a cell may hold
            pass
    return found


def _blanks(opened: Callable[[], IO[str]], before: int, delimiter: str) -> bool:
    """Whether blanks behind a delimiter are no part of the fields: some programs write them before quotes."""
    with opened() as file:
        some = any(f'{delimiter} "' in line for line in _lines(file, before))
    return some and _whole(opened, before, delimiter, blanks=True)


def _whole(opened: Callable[[], IO[str]], before: int, delimiter: str, *, blanks: bool = False) -> bool:
    """Whether quotes stand where they belong in a whole file, and every row has as many fields as the header."""
    width = None
    with opened() as file:
        reader = csv.reader(_lines(file, before), delimiter=delimiter, strict=True, skipinitialspace=blanks)
        try:
            for fields in reader:
                width = len(fields) if width is None else width
                if fields and len(fields) != width:
                    return False
        except csv.Error:
            return False
    return True
