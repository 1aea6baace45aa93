"""Every error this package raises on purpose, in one tree.

    TutelageError               exit 1
    ├── UserError               exit 2   something the user can mend
    │   ├── RecipeError                  the recipe, every problem at once
    │   ├── DataError                    a file, a column, a row, a label
    │   ├── ModelError                   a model folder, a hub id, an architecture
    │   ├── OutputError                  the output folder
    │   └── BundleError                  a bundle that is broken, tampered with, or of another task
    ├── StorageError            exit 1   the disk is full or refuses to write
    ├── TrainingError           exit 1   a loss that is not finite, memory that does not suffice
    └── Interrupted             exit 130 Ctrl-C; the run can be resumed

A search that finds no student for its goal is no error: the best one is delivered, and the exit code is 3.

A message says what was given, what was expected, and the cure.
"""

from __future__ import annotations

from collections.abc import Sequence


class TutelageError(Exception):
    """The root: catch this to catch everything the package raises on purpose."""

    exit_code = 1

    def __init__(self, given: str, *, expected: str = "", cure: str = "") -> None:
        self.given, self.expected, self.cure = given, expected, cure
        lines = [given]
        if expected:
            lines.append(f"  expected: {expected}")
        if cure:
            lines.append(f"  cure: {cure}")
        super().__init__("\n".join(lines))


class UserError(TutelageError):
    """Something the user gave is wrong, and the user can mend it."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe that cannot be used; `problems` lists everything that is wrong with it."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{source} has {count}:\n{listed}")


class DataError(UserError):
    """Data that cannot be read or used."""


class ModelError(UserError):
    """A model that cannot be loaded, or that cannot take the part it was given."""


class OutputError(UserError):
    """An output folder that must not be written to."""


class BundleError(UserError):
    """A bundle that is incomplete, altered, or made for another task."""


class StorageError(TutelageError):
    """The disk is full or refuses to write; whatever was there before is untouched."""


class TrainingError(TutelageError):
    """Training cannot go on: a value that is not finite, or memory that does not suffice."""


class ExportError(TrainingError):
    """A student that has learned, and cannot be written as a graph."""


class Interrupted(TutelageError):  # noqa: N818 - an interruption is not an error of anybody's
    """The user stopped the run; everything up to the last checkpoint is kept."""

    exit_code = 130
