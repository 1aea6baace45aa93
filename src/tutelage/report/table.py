"""The short table at the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutelage.artifacts.measurements import Interval, Measurements
from tutelage.report import answer, comparison, number

if TYPE_CHECKING:
    from rich.table import Table


def summary(measurements: Measurements) -> Table:
    """Teacher, student, control and baseline: score with interval, size, speed. Fits 80 columns."""
    from rich.table import Table

    metric = measurements.metric(measurements.headline)
    table = Table(title=answer.sentence(measurements), title_justify="left", title_style="bold")
    table.add_column("")
    for column in (metric.title, "size", "rows/s", "one row"):
        table.add_column(column, justify="right")
    for role, model in measurements.in_order.items():
        score = model.scores.get(metric.name, Interval())
        runtime = comparison.main_runtime(measurements, role)
        rate = model.rows_per_second.get(runtime) if runtime else None
        latency = model.latency_ms.get("p50")
        table.add_row(
            comparison.title_of(measurements, role),
            f"{number.score(score.value, metric)} {number.interval(score, metric)}",
            number.megabytes(model.bytes),
            number.significant(rate),
            number.NONE if latency is None else f"{number.significant(latency)} ms",
            style="bold" if role == "student" else None,
        )
    return table
