"""One file per task, all of the same shape: see `base.Task`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.tasks.base import Array, Metric, Panel, Task
from tutelage.tasks.text_classification import TextClassification
from tutelage.tasks.text_regression import TextRegression

TASKS: dict[str, type[Task]] = {task.name: task for task in (TextClassification, TextRegression)}

__all__ = ["TASKS", "Array", "Metric", "Panel", "Task", "from_dict"]


def from_dict(value: Mapping[str, Any]) -> Task:
    """The task that `Task.to_dict` described. Raises `ValueError` when there is no such task."""
    name = value.get("name")
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; known: {', '.join(TASKS)}")
    return TASKS[str(name)].from_dict(value)
