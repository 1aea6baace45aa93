"""A first look at data nobody has described: which column is the text, which the label, and which task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from os.path import expanduser
from pathlib import Path
from typing import Any

from tutelage.data.read import open_table
from tutelage.data.sources.locate import KINDS, Place, locate
from tutelage.data.sources.table import Record, Table
from tutelage.data.sources.text_file import check_encoding, guess
from tutelage.errors import DataError

_SAMPLE = 20_000  # rows looked at: files are often sorted by label, so the first hundred tell little
_FEW = 50  # distinct values up to which a column can be a class
_LABEL_NAMES = (
    *("label", "labels", "class", "category", "sentiment", "target", "rating", "score", "stars"),
    *("intent", "topic", "emotion", "polarity", "tag", "y"),
)
_SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Guess:
    """What the data looks like; everything in it can be changed in the recipe."""

    task: str
    train: str
    validation: str | None
    test: str | None
    text: str
    label: str
    encoding: str
    columns: tuple[str, ...]
    rows: int
    """Rows looked at."""
    labels: tuple[str, ...]
    """The distinct labels seen, at most ten."""


def inspect(path: str) -> Guess:
    """Look at the first 20,000 rows of a source of any kind.

    Raises `DataError` when it cannot be read, or when nothing in it looks like a text or a label.
    """
    place = _training_file(path)
    encoding = _encoding(place)
    table = open_table(place, role="train", encoding=encoding, tolerance=1.0)
    if not table.columns:
        raise DataError(f"{place.source} has no columns", expected="a header, or objects with keys")
    names = list(dict.fromkeys(table.columns))
    records = islice(table.records(names), _SAMPLE)
    sample = [record for record in records if not record.problem]
    text = _text_column(place.source, names, sample)
    label = _label_column(place.source, [name for name in names if name != text], sample)
    if any(isinstance(record.fields[label], list | dict) for record in sample):
        raise DataError(
            f"the labels of {place.source} are lists ({label!r}): several of a text",
            expected="one label a text",
            cure="make a column of the label that matters, or a data set for each",
        )
    values = [_plain(record.fields[label]) for record in sample]
    distinct = sorted({value for value in values if value})
    siblings = _siblings(place, {text, label})
    return Guess(
        task=_task(values),
        train=place.source,
        validation=siblings["validation"],
        test=siblings["test"],
        text=text,
        label=label,
        encoding=encoding,
        columns=table.columns,
        rows=len(sample),
        labels=tuple(distinct[:10]),
    )


def _training_file(path: str) -> Place:
    """The source itself, or the training file inside a plain folder of files."""
    folder = Path(expanduser(path))  # noqa: PTH111 - Path's raises for users that there are not
    if folder.is_dir():
        for name in _SPLIT_NAMES["train"]:
            for file in sorted(folder.glob(f"{name}.*")):
                if file.suffix.lower() in KINDS:
                    return locate(str(file))
    return locate(path)


def _encoding(place: Place) -> str:
    """utf-8 unless the bytes say otherwise."""
    if place.kind not in ("delimited", "json_lines", "plain_lines"):
        return "utf-8"
    try:
        check_encoding(place.path, "utf-8", tolerance=0.01)
    except DataError as error:
        with place.path.open("rb") as file:
            likely = guess(file.read())
        if likely in (None, "utf-8"):
            raise
        try:
            check_encoding(place.path, str(likely), tolerance=0.01)
        except DataError:
            raise error from None
        return str(likely)
    return "utf-8"


def _text_column(source: str, names: Sequence[str], sample: Sequence[Record]) -> str:
    """The column of the longest texts on average; numbers, however long, are none."""
    length = {name: _mean_length([record.fields[name] for record in sample]) for name in names}
    best = max(names, key=lambda name: length[name])
    if length[best] == 0:
        raise DataError(
            f"no column of {source} holds texts; it has {', '.join(map(repr, names))}",
            expected="a column of texts and one of labels",
        )
    return best


def _mean_length(values: Sequence[Any]) -> float:
    texts = [value for value in values if isinstance(value, str) and not _is_number(value)]
    return sum(map(len, texts)) / len(values) if values else 0.0


def _label_column(source: str, names: Sequence[str], sample: Sequence[Record]) -> str:
    """The column that can be a label and is most probably called so; of equals, the last."""
    best, most = "", 0
    for name in names:
        worth = _worth(name, [_plain(record.fields[name]) for record in sample])
        if worth and worth >= most:
            best, most = name, worth
    if not best:
        listed = ", ".join(map(repr, names)) or "none"
        raise DataError(
            f"no column of {source} looks like a label; besides the text it has {listed}",
            expected=f"a column of 2 to {_FEW} classes, or of numbers",
            cure="write `data.label` into a recipe by hand, or add the column",
        )
    return best


def _worth(name: str, values: Sequence[str | None]) -> int:
    """0: cannot be a label; more for few distinct values, more still for a telling name."""
    present = [value for value in values if value]
    distinct = set(present)
    named = 4 * (name.lower().strip() in _LABEL_NAMES)
    if len(distinct) < 2:
        return 0
    if len(distinct) <= _FEW and len(distinct) <= len(present) / 2:
        return 2 + named
    if not all(_is_number(value) for value in present):
        return 0
    counts_up = len(distinct) == len(present) and all(value.lstrip("-").isdigit() for value in present)
    return 0 if counts_up and not named else 1 + named


def _task(values: Sequence[str | None]) -> str:
    """Numbers of many different values, or with fractions, are a quantity; all else are classes."""
    present = [value for value in values if value]
    distinct = set(present)
    if all(_is_number(value) for value in distinct) and len(distinct) > min(_FEW, len(present) / 2):
        return "text-regression"
    fractions = sum(1 for value in distinct if _is_number(value) and not float(value).is_integer())
    many = len(distinct) > 10 and all(_is_number(value) for value in distinct)
    return "text-regression" if many and fractions > len(distinct) / 2 else "text-classification"


def _plain(value: Any) -> str | None:
    return None if value is None else str(value).strip()


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _siblings(place: Place, needed: set[str]) -> dict[str, str | None]:
    """validation and test files beside one called train, if they have the columns."""
    found: dict[str, str | None] = {"validation": None, "test": None}
    stem = place.path.stem
    own = next((name for name in _SPLIT_NAMES["train"][::-1] if name in stem.lower()), None)
    if place.kind == "hub" or own is None:
        return found
    start = stem.lower().index(own)
    for role in ("validation", "test"):
        names = (stem[:start] + name + stem[start + len(own) :] for name in _SPLIT_NAMES[role])
        others = (place.path.with_name(name + place.path.suffix) for name in names)
        fitting = (str(other) for other in others if other.exists() and needed <= set(_columns(other)))
        found[role] = next(fitting, None)
    return found


def _columns(path: Path) -> tuple[str, ...]:
    try:
        table: Table = open_table(locate(str(path)), role="test", encoding="utf-8", tolerance=1.0)
    except DataError:
        return ()
    return table.columns
