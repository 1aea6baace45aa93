"""Plain text: one text a line, without labels. Blank lines are skipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tutelage.data.sources.locate import Place
from tutelage.data.sources.table import EXCERPT, TEXT, Problem, Record, Table
from tutelage.data.sources.text_file import check_encoding, lines


def open_table(place: Place, *, encoding: str, tolerance: float) -> Table:
    """Prepare to stream the lines. Raises `DataError` for a wrong encoding."""
    check_encoding(place.path, encoding, tolerance=tolerance)
    return Table(place.source, (TEXT,), partial(_records, place.path, encoding), fixed=True)


def _records(path: Path, encoding: str, names: Sequence[str]) -> Iterator[Record]:  # noqa: ARG001 - one column
    for line in lines(path, encoding):
        if line.cut:
            problem = Problem("cannot be parsed", "the line is too long to be read")
            yield Record(line.number, {}, problem, line.text[:EXCERPT])
        elif line.text.strip():
            yield Record(line.number, {TEXT: line.text})
