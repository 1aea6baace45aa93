"""What a run shows while it works. Stages report to a `Progress`; only the command line draws."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
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


class Logged:
    """Passes everything on to another `Progress` and keeps a line of JSON of it."""

    def __init__(self, inner: Progress, file: Path) -> None:
        self.inner, self.file = inner, file
        self.warnings: list[str] = []

    def note(self, event: str, **facts: Any) -> None:
        """Keep one line: the time (UTC), the event, and what is known of it."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        with self.file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line, ensure_ascii=False) + "\n")

    @contextmanager
    def bar(self, title: str, total: float) -> Iterator[Bar]:
        """The inner bar; its start and end are kept."""
        self.note("start", what=title)
        start = time.monotonic()
        with self.inner.bar(title, total) as bar:
            yield bar
        self.note("end", what=title, seconds=round(time.monotonic() - start, 3))

    def say(self, text: str) -> None:
        """One line that stays, in both."""
        self.note("say", text=text)
        self.inner.say(text)

    def warn(self, text: str) -> None:
        """One warning, in both, and in the report: once, however often it is given."""
        if text in self.warnings:
            return
        self.note("warning", text=text)
        self.warnings.append(text)
        self.inner.warn(text)
