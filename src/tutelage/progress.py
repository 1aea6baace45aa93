"""What a run shows while it works. Stages report to a `Progress`; only the command line draws."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Bar(Protocol):
    """One thing under way."""

    def advance(self, steps: float = 1, note: str = "") -> None:
        """So many more steps are done; `note` replaces the text beside the bar."""


class Progress(Protocol):
    """Where a stage says what it does."""

    def bar(self, title: str, total: float) -> Any:
        """A context manager that gives a `Bar` of `total` steps."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def warn(self, text: str) -> None:
        """One line that stays and stands out."""


class Silent:
    """Shows nothing: the default of the library."""

    @contextmanager
    def bar(self, title: str, total: float) -> Iterator[Bar]:  # noqa: ARG002
        """A bar that draws nothing."""
        yield self

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""
