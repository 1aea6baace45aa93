"""Was it the seed: the same student and its control from several seeds, and what they give on average."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.artifacts.measurements import Interval, Measurements, MetricInfo
from tutelage.report import number
from tutelage.report.comparison import Cell


@dataclass(frozen=True)
class Row:
    """One seed, or the mean over all of them."""

    name: str
    describes: str
    cells: list[Cell]
    """Student, control, kept, gained."""
    mean: bool = False


HEADS = ("Student", "Control", "Kept", "By distilling")


def several(measurements: Measurements) -> int:
    """How many seeds there were; 0 for one alone."""
    return len(measurements.seeds.runs) if measurements.seeds else 0


def sentence(measurements: Measurements) -> str:
    """What students from all seeds keep on average, and the range; empty for one seed alone."""
    seeds = measurements.seeds
    kept = [run.retention.value for run in seeds.runs if run.retention.value is not None] if seeds else []
    if seeds is None or seeds.retention is None or seeds.retention.value is None or not kept:
        return ""
    mean = f"{number.percent(seeds.retention.value)} {number.interval(seeds.retention, number.SHARE)}".rstrip()
    low, high = number.score(min(kept), number.SHARE, unit=False), number.percent(max(kept))
    return f"Trained from {len(kept)} seeds, such students keep {mean} on average, between {low} and {high}."


def rows(measurements: Measurements) -> list[Row]:
    """Every seed, the deployed student's first, then the mean; nothing for one seed alone."""
    seeds = measurements.seeds
    if seeds is None or not seeds.runs:
        return []
    metric = measurements.metric(measurements.headline)
    found = []
    for place, run in enumerate(seeds.runs):
        cells = [_score(run.student, metric), _score(run.control, metric)]
        cells += [_score(run.retention, number.SHARE), _gain(run.against_control, metric)]
        name = f"seed {run.seed}, deployed" if place == 0 else f"seed {run.seed}"
        # The others are of the same shape; precision and wide part may be decided otherwise.
        alike = place > 0 and run.describes == seeds.runs[0].describes
        found.append(Row(name, "" if alike else run.describes, cells))
    nothing = Cell("")
    last = [nothing, nothing, _score(seeds.retention, number.SHARE), _gain(seeds.against_control, metric)]
    return [*found, Row("mean", "interval over seeds and rows", last, mean=True)]


def _score(score: Interval | None, metric: MetricInfo) -> Cell:
    known = score or Interval()
    return Cell(number.score(known.value, metric), number.interval(known, metric))


def _gain(gain: Interval | None, metric: MetricInfo) -> Cell:
    known = gain or Interval()
    return Cell(number.difference(known.value, metric), number.interval(known, metric))
