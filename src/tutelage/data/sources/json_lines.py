"""JSON Lines: one object a line; keys are columns. A line that is not an object is a bad row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from tutelage.data.sources.locate import Place
from tutelage.data.sources.table import EXCERPT, Problem, Record, Table
from tutelage.data.sources.text_file import Line, check_encoding, lines
from tutelage.errors import DataError

_LOOK_AHEAD = 100  # lines whose keys are taken as the columns: not every object has every key


def open_table(place: Place, *, encoding: str, tolerance: float) -> Table:
    """Look at the first objects for the columns. Raises `DataError` for a wrong encoding or a JSON array."""
    path = place.path
    check_encoding(path, encoding, tolerance=tolerance)
    columns: dict[str, None] = {}
    for line in islice(lines(path, encoding), _LOOK_AHEAD):
        if line.number == 1 and line.text.lstrip().startswith("["):
            raise DataError(
                f"{path} holds a JSON array",
                expected="JSON Lines: one object a line",
                cure=f"convert it, e.g. with `jq -c '.[]' {path.name} > {path.stem}.jsonl`",
            )
        value = _parse(line)
        if isinstance(value, dict):
            columns |= dict.fromkeys(value)
    return Table(place.source, tuple(columns), partial(_records, path, encoding))


def _records(path: Path, encoding: str, names: Sequence[str]) -> Iterator[Record]:
    for line in lines(path, encoding):
        if not line.text.strip():
            continue
        value = _parse(line)
        if isinstance(value, Problem):
            yield Record(line.number, {}, value, line.text[:EXCERPT])
        else:
            yield Record(line.number, {name: value.get(name) for name in names})


def _parse(line: Line) -> dict[str, object] | Problem:
    if line.cut:
        return Problem("cannot be parsed", "the line is too long to be read")
    try:
        value = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        return Problem("not valid JSON", str(error))
    return value if isinstance(value, dict) else Problem("not a JSON object", type(value).__name__)
