"""A recipe with everything tiny, and somebody who listens to what is done for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage.progress import Silent


def recipe(reviews: Path, bert: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """Everything tiny; `changes` are merged one level deep."""
    base: dict[str, Any] = {
        "task": "text-classification",
        "data": {"train": str(reviews), "max_tokens": 48},
        "teacher": {"model": str(bert), "epochs": 2, "learning_rate": 3e-3},
        "student": {"epochs": 2, "learning_rate": 3e-3, "balance": "given"},
        "evaluate": {"resamples": 100, "speed_rows": 32},
        "output": str(output),
        "threads": 1,
    }
    for key, value in changes.items():
        base[key] = {**base.get(key, {}), **value} if isinstance(value, dict) else value
    return base


class Listener(Silent):
    """Remembers the titles of what was done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def bar(self, title: str, total: float) -> Any:
        self.done.append(title)
        return super().bar(title, total)
