"""The comparison of the models, as rows of cells: what the page, the card and the terminal all show."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tutelage.artifacts.measurements import Interval, Measurements, MetricInfo, ModelMeasurements
from tutelage.report import number

TITLES = {
    "teacher": "Teacher",
    "student": "Student",
    "control": "Control",
    "baseline": "Baseline",
}
RUNTIMES = {"pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "scikit-learn": "scikit-learn"}


@dataclass(frozen=True)
class Whisker:
    """An interval drawn on the common scale of its row, in hundredths of the width."""

    low: float
    value: float
    high: float


@dataclass(frozen=True)
class Cell:
    """A figure and what stands small beneath it."""

    figure: str
    note: str = ""
    whisker: Whisker | None = None


@dataclass(frozen=True)
class Row:
    """One quantity over all models, in their order."""

    title: str
    cells: list[Cell]
    note: str = field(default="")


def title_of(measurements: Measurements, role: str) -> str:
    """What a model is called in a table head."""
    return TITLES.get(role) or measurements.models[role].title or role


def runtime_title(runtime: str) -> str:
    """A runtime's own spelling."""
    return RUNTIMES.get(runtime, runtime)


def subtitle_of(measurements: Measurements, role: str) -> str:
    """A model's own name, where it says more than `title_of`."""
    own = measurements.models[role].title
    return "" if own.casefold() == title_of(measurements, role).casefold() else own


def spelled(text: str) -> str:
    """Runtimes inside a text in their own spelling."""
    for runtime, title in RUNTIMES.items():
        text = re.sub(rf"\b{runtime}\b", title, text)
    return text


def main_runtime(measurements: Measurements, role: str) -> str | None:
    """The runtime a model is compared in: PyTorch for the teacher, that of the bundle for whoever was made into one."""
    rates = {name: rate for name, rate in measurements.models[role].rows_per_second.items() if rate}
    deployed = "pytorch" if role == "teacher" else "onnxruntime"
    if deployed in rates:
        return deployed
    return max(rates, key=lambda name: rates[name] or 0.0, default=None)


def comparison(measurements: Measurements) -> list[Row]:
    """The main table: headline score, share of the teacher's, size, speed, latency, memory."""
    models = measurements.in_order
    metric = measurements.metric(measurements.headline)
    rows = [score_row(measurements, metric), _kept(measurements)]
    rows += [
        Row("Size on disk", [Cell(number.megabytes(model.bytes)) for model in models.values()]),
        Row("Parameters", [Cell(number.count(model.parameters)) for model in models.values()]),
    ]
    known = dict.fromkeys(name for model in models.values() for name in model.rows_per_second)
    for runtime in sorted(known, key=lambda name: list(RUNTIMES).index(name) if name in RUNTIMES else 9):
        cells = [_speed(model, runtime) for model in models.values()]
        rows.append(Row("Rows per second", cells, runtime_title(runtime)))
    timed = (
        ("p50", "median"),
        ("p95", "95th percentile"),
        ("mean", "mean, of a cascade"),
        ("through_all", "that goes through every level, median"),
    )
    for key, note in timed:
        cells = [Cell(_unit(model.latency_ms.get(key), "ms")) for model in models.values()]
        rows.append(Row("One row at a time", cells, note))
    cells = [_answered(model) for model in models.values()]
    rows.append(Row("Answered by the levels", cells, "of a cascade, the cheapest first"))
    first = [Cell(number.seconds(model.first_answer_seconds)) for model in models.values()]
    rows.append(Row("First answer", first, "of a fresh process"))
    rows.append(Row("Peak memory", [Cell(_unit(model.peak_memory_mb, "MB")) for model in models.values()]))
    return [row for row in rows if any(cell.figure != number.NONE for cell in row.cells)]


def scores(measurements: Measurements) -> list[Row]:
    """Every score of every model with its interval."""
    named = dict.fromkeys(name for model in measurements.in_order.values() for name in model.scores)
    described = dict.fromkeys(metric.name for metric in measurements.metrics)
    order = [name for name in described if name in named] + [name for name in named if name not in described]
    return [score_row(measurements, measurements.metric(name)) for name in order]


def score_row(measurements: Measurements, metric: MetricInfo) -> Row:
    """One metric over all models."""
    found = [model.scores.get(metric.name, Interval()) for model in measurements.in_order.values()]
    limits = [bound for score in found for bound in (score.low, score.value, score.high) if bound is not None]
    cells = [
        Cell(
            number.score(score.value, metric),
            number.interval(score, metric),
            _whisker(score, min(limits, default=0.0), max(limits, default=0.0)),
        )
        for score in found
    ]
    return Row(metric.title, cells, "" if metric.higher_is_better else "lower is better")


def _kept(measurements: Measurements) -> Row:
    teacher = measurements.models.get("teacher")
    reference = ((teacher.scores.get(measurements.headline) if teacher else None) or Interval()).value or 0.0
    ascending = measurements.metric(measurements.headline).higher_is_better
    cells = []
    for role, model in measurements.in_order.items():
        own = model.scores.get(measurements.headline, Interval()).value
        kept = measurements.retention if role == "student" else None
        if kept is not None and kept.value is not None:
            cells.append(Cell(number.percent(kept.value), number.interval(kept, number.SHARE)))
        elif role != "teacher" and own is not None and reference > 0 and ascending:
            cells.append(Cell(number.percent(own / reference)))
        else:
            cells.append(Cell(number.NONE))
    return Row("Kept of the teacher’s", cells)


def _speed(model: ModelMeasurements, runtime: str) -> Cell:
    rate = model.rows_per_second.get(runtime)
    batch = model.batch_size.get(runtime)
    return Cell(number.significant(rate), f"{batch:,} tokens a batch" if rate is not None and batch else "")


def _answered(model: ModelMeasurements) -> Cell:
    return Cell(" · ".join(map(number.percent, model.answered)) or number.NONE)


def _unit(value: float | None, unit: str) -> str:
    return number.NONE if value is None else f"{number.significant(value)}{number.SPACE}{unit}"


def _whisker(score: Interval, least: float, most: float) -> Whisker | None:
    if score.value is None or score.low is None or score.high is None or most <= least:
        return None
    low, value, high = (
        round(100 * (bound - least) / (most - least), 1) for bound in (score.low, score.value, score.high)
    )
    return Whisker(low, value, high)
