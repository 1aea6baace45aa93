"""Every data set that a recipe names: the part it plays, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tutelage.artifacts.corpus import ALSO, MORE
from tutelage.data.read import Columns
from tutelage.recipe_data import DataRecipe, Label, OtherRecipe

OWN = ("train", "validation", "test", "unlabelled")


class NoEntry(NamedTuple):
    """A label that the label map of its data set does not hold."""

    label: str


@dataclass(frozen=True)
class Given:
    """A data set."""

    role: str
    """One of `OWN`, or `more.0`, `also_test.0` and so on: with `data.` in front, its key in the recipe."""
    sources: list[str]
    columns: Columns
    keys: Columns
    """What a message calls the keys that name the columns."""
    split: str
    """Which split of a saved data set or a hub id it is, if none is named: one of `OWN`."""
    labels: Mapping[str, Label | None] | None = None
    """Its labels as the task's own."""

    @property
    def labelled(self) -> bool:
        """Whether its rows have labels."""
        return self.columns.label is not None


def given(data: DataRecipe, *, key: str = "data", taught: bool = True) -> dict[str, Given]:
    """All data sets of a part of a recipe, called `key`, by their role, in the order in which they are read.

    Unless `taught`, train has no labels: its classes are known by name.
    """
    found = {}
    keys = Columns(f"{key}.text", f"{key}.label", f"{key}.group")
    for role in OWN:
        if sources := getattr(data, role):
            label = None if role == "unlabelled" or (role == "train" and not taught) else data.label
            columns = Columns(data.text, label, data.group if role == "train" else None)
            found[role] = Given(role, sources, columns, keys, role)
    for number, other in enumerate(data.more or []):
        role = f"{MORE}{number}"
        found[role] = _other(role, other, data, "train")
    for number, test in enumerate(data.also_test or []):
        role = f"{ALSO}{number}"
        found[role] = _other(role, test, data, "test")
    return found


def _other(role: str, other: OtherRecipe, data: DataRecipe, split: str) -> Given:
    columns = Columns(other.text or data.text, other.label or data.label)
    keys = Columns(f"data.{role}.text", f"data.{role}.label")
    return Given(role, other.source, columns, keys, split, other.labels)
