"""Progress that remembers what it was told."""

from __future__ import annotations

from typing import Any

from tutelage.progress import Silent


class Listener(Silent):
    """Titles of what was done, sentences that were said, and warnings, each in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.said: list[str] = []
        self.warned: list[str] = []

    def bar(self, title: str, total: float) -> Any:
        self.done.append(title)
        return super().bar(title, total)

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)
