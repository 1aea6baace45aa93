"""A folder that `datasets` saved: a Dataset, or a DatasetDict of splits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from tutelage.data.sources.locate import Place
from tutelage.data.sources.table import Record, Table
from tutelage.errors import DataError

_ROWS = 256
_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test",),
    "unlabelled": ("unlabelled", "unlabeled", "unsupervised", "train"),
    "text": ("train",),
}
"""Role in the recipe -> names of the split that plays it, the best first."""


def open_table(place: Place, *, role: str) -> Table:
    """Map the dataset. Raises `DataError` for a broken folder or when no split plays the role."""
    import datasets

    try:
        found = datasets.load_from_disk(str(place.path))
    except Exception as error:  # the library raises whatever its parts raise
        raise DataError(
            f"{place.path} cannot be read as a saved dataset: {error}",
            expected="a folder that `Dataset.save_to_disk` of `datasets` wrote",
            cure="save it again",
        ) from error
    return table_of(place, found, role=role)


def table_of(place: Place, found: Any, *, role: str) -> Table:
    """A Dataset, or the split of a DatasetDict that the source names or the role implies, as a table."""
    if isinstance(found, dict):
        found = found[choose_split(place, found, role=role)]
    return Table(place.source, tuple(found.column_names), partial(_records, found))


def choose_split(place: Place, splits: Iterable[str], *, role: str) -> str:
    """Which split to take. Raises `DataError` listing what there is."""
    present = list(splits)
    wanted = (place.split,) if place.split else _NAMES[role]
    for name in wanted:
        if name in present:
            return name
    raise DataError(
        f"{place.source} has no split {' or '.join(map(repr, wanted))}; it has {', '.join(present)}",
        expected=f"a split for `data.{role}`",
        cure=f"name one: `data.{role}: {place.path.as_posix()}:{present[0]}`" if present else "",
    )


def _records(dataset: Any, names: Sequence[str]) -> Iterator[Record]:
    dataset = dataset.select_columns(list(names)).with_format(None)
    classes = {name: _class_names(dataset.features[name]) for name in names}
    number = 0
    for batch in dataset.iter(batch_size=_ROWS):
        for values in zip(*(batch[name] for name in names), strict=True):
            number += 1
            yield Record(
                number,
                {name: _named(value, classes[name]) for name, value in zip(names, values, strict=True)},
            )


def _class_names(feature: Any) -> list[str] | None:
    names = getattr(feature, "names", None)
    return list(names) if isinstance(names, list) else None


def _named(value: Any, names: list[str] | None) -> Any:
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None  # -1: the hub's sign for a hidden label
