"""A folder of class folders: each `<class>/*.txt` is one row, and its folder's name is the label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tutelage.data.sources.locate import Place
from tutelage.data.sources.table import EXCERPT, LABEL, TEXT, Problem, Record, Table
from tutelage.data.sources.text_file import check_encoding, check_known, open_text
from tutelage.errors import DataError
from tutelage.separated import LONGEST_CELL


def open_table(place: Place, *, encoding: str, tolerance: float) -> Table:
    """List the files. Raises `DataError` when more than the share `tolerance` have a wrong encoding."""
    files = sorted(file for file in place.path.glob("*/*.txt") if not file.parent.name.startswith("."))
    check_known(encoding)
    wrong: list[DataError] = []
    for file in files:
        try:
            check_encoding(file, encoding, tolerance=0)
        except DataError as error:
            wrong.append(error)
    if len(wrong) > tolerance * len(files):
        raise DataError(
            f"{wrong[0].given}; {len(wrong):,} of {len(files):,} files of {place.path} are like that",
            expected=wrong[0].expected,
            cure=wrong[0].cure,
        )
    return Table(place.source, (TEXT, LABEL), partial(_records, files, encoding), fixed=True)


def _records(files: Sequence[Path], encoding: str, names: Sequence[str]) -> Iterator[Record]:
    for number, file in enumerate(files, start=1):
        place = f"{file.parent.name}/{file.name}"
        with open_text(file, encoding) as opened:
            text = opened.read(LONGEST_CELL + 1)
        if len(text) > LONGEST_CELL:
            problem = Problem("cannot be parsed", "the file is too long to be read")
            yield Record(number, {}, problem, text[:EXCERPT], place)
        else:
            fields = {TEXT: text, LABEL: file.parent.name}
            yield Record(number, {name: fields[name] for name in names}, place=place)
