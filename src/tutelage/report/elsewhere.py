"""The small table of other domains and languages: a row a set, a column a model, and what the student keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tutelage.artifacts.measurements import Interval, Measurements, MetricInfo, OtherMeasurements
from tutelage.report import number
from tutelage.report.comparison import Cell, title_of
from tutelage.report.health import rows_of


@dataclass(frozen=True)
class Elsewhere:
    """A set with a cell for every column of `heads`."""

    name: str
    rows: str
    cells: list[Cell]


def heads(measurements: Measurements) -> list[str]:
    """What the columns are called."""
    return [*(title_of(measurements, role) for role in measurements.in_order), "Kept"]


def elsewhere(measurements: Measurements) -> list[Elsewhere]:
    """The test for comparison, then every other set; nothing where there is no other."""
    if not measurements.others:
        return []
    test = OtherMeasurements(
        name="test",
        rows=rows_of(measurements.data, "test"),
        scores={role: dict(model.scores) for role, model in measurements.models.items()},
        retention=measurements.retention,
    )
    return [_row(measurements, other) for other in (test, *measurements.others)]


def _row(measurements: Measurements, other: OtherMeasurements) -> Elsewhere:
    metric = measurements.metric(measurements.headline)
    found = [_cell(other.scores.get(role, {}), metric) for role in measurements.in_order]
    kept = other.retention or Interval()
    known = kept.value is not None
    found.append(Cell(number.percent(kept.value), number.interval(kept, number.SHARE)) if known else Cell(number.NONE))
    return Elsewhere(other.name, number.NONE if other.rows is None else f"{other.rows:,}", found)


def _cell(scores: Mapping[str, Interval], metric: MetricInfo) -> Cell:
    score = scores.get(metric.name, Interval())
    return Cell(number.score(score.value, metric), number.interval(score, metric))
