from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tutelage import pipeline


def recipe(reviews: Path, bert: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """Everything tiny; `changes` are merged one level deep."""
    base: dict[str, Any] = {
        "task": "text-classification",
        "data": {"train": str(reviews), "max_tokens": 48},
        "teacher": {"model": str(bert), "epochs": 2, "learning_rate": 3e-3},
        "student": {"epochs": 2, "learning_rate": 3e-3},
        "evaluate": {"resamples": 100, "speed_rows": 32},
        "output": str(output),
        "threads": 2,
    }
    for key, value in changes.items():
        base[key] = {**base[key], **value} if isinstance(value, dict) else value
    return base


@pytest.fixture(scope="session")
def finished(reviews: Path, bert: Path, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Run:
    """One whole run, shared by the tests that only look at it."""
    return pipeline.run(recipe(reviews, bert, tmp_path_factory.mktemp("runs") / "reviews"))
