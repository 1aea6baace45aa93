"""Progress on a terminal, drawn with rich: what is done, how much is left, how long it will take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from tutelage.progress import Bar

# Without a terminal (CI, a log file) a line at most this often, in seconds, instead of a moving bar.
_LOG_EVERY = 15.0
_AT_ONCE = 1.0


class Terminal:
    """Implements `progress.Progress`. What is said is text, not markup: labels and paths hold square brackets."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """One line that stays."""
        self.console.print(Text(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """One yellow line that stays."""
        self.console.print(Text.assemble(("!", "yellow"), " ", text), soft_wrap=True)

    @contextmanager
    def bar(self, title: str, total: float) -> Iterator[Bar]:
        """A moving bar on a terminal, a line now and then elsewhere; one line with the time taken at the end."""
        start = time.monotonic()
        if self.console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", style="dim"),
            )
            with RichProgress(*columns, console=self.console, transient=True) as progress:
                yield _RichBar(progress, title, total)
        else:
            yield _LineBar(self.console, title, total)
        self.console.print(f"  [green]✓[/] {title} [dim]{_seconds(time.monotonic() - start)}[/]")


class _RichBar:
    def __init__(self, progress: RichProgress, title: str, total: float) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total or None, note="")

    def advance(self, steps: float = 1, note: str = "") -> None:
        self._progress.advance(self._task, steps)
        if note:
            self._progress.update(self._task, note=note)


class _LineBar:
    def __init__(self, console: Console, title: str, total: float) -> None:
        self._console, self._title, self._total = console, title, total
        self._done, self._start = 0.0, time.monotonic()
        self._last = self._start
        self._before = 0.0
        """What was found done at once, by a run before: it tells nothing of how long the rest takes."""

    def advance(self, steps: float = 1, note: str = "") -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._start < _AT_ONCE:
            self._before = self._done
        if now - self._last < _LOG_EVERY:
            return
        self._last = now
        if not self._total:
            self._console.print(f"  … {self._title} {note}", style="dim")
            return
        share = min(self._done / self._total, 1.0)
        left = (now - self._start) * max(self._total - self._done, 0) / max(self._done - self._before, 1e-9)
        self._console.print(f"  … {self._title} {share:.0%}, about {_seconds(left)} left {note}", style="dim")


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
