"""What one more size up or down would give: the neighbours of the student, or what a search has tried around it."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.artifacts.measurements import Interval, Measurements, Size, Tried
from tutelage.report import number
from tutelage.report.comparison import Cell
from tutelage.report.search import continued


@dataclass(frozen=True)
class Row:
    """A student of some size beside the one that is deployed."""

    name: str
    describes: str
    cells: list[Cell]
    """Score, difference, kept, speed, one row, size."""
    own: bool = False


def sentences(measurements: Measurements) -> list[str]:
    """What one size up and one size down would give, one sentence each; nothing where neither is known."""
    by_size = {size.where: size for size in measurements.sizes}
    if by_size:
        order = [by_size[where] for where in ("larger", "smaller") if where in by_size]
        return [_measured(measurements, size) for size in order]
    return _searched(measurements)


def rows(measurements: Measurements) -> list[Row]:
    """The smaller one, the student, the larger one; nothing where no neighbour was made."""
    by_size = {size.where: size for size in measurements.sizes}
    student = measurements.models.get("student")
    if not by_size or student is None:
        return []
    metric = measurements.metric(measurements.headline)
    score, kept = student.scores.get(metric.name, Interval()), measurements.retention or Interval()
    rate = student.rows_per_second.get("onnxruntime")
    own = Row(
        "The student",
        student.describes,
        [
            Cell(number.score(score.value, metric), number.interval(score, metric)),
            Cell(number.NONE),
            Cell(number.percent(kept.value), number.interval(kept, number.SHARE)),
            Cell(number.significant(rate)),
            Cell(_milliseconds(student.latency_ms.get("p50"))),
            Cell(number.megabytes(student.bytes)),
        ],
        own=True,
    )
    found = {where: _row(measurements, size) for where, size in by_size.items()}
    return [row for row in (found.get("smaller"), own, found.get("larger")) if row is not None]


def _row(measurements: Measurements, size: Size) -> Row:
    metric = measurements.metric(measurements.headline)
    score, gain, kept = size.scores.get(metric.name, Interval()), size.against_student, size.retention or Interval()
    return Row(
        f"One size {size.where}",
        size.describes,
        [
            Cell(number.score(score.value, metric), number.interval(score, metric)),
            Cell(number.difference(gain.value if gain else None, metric), number.interval(gain, metric)),
            Cell(number.percent(kept.value), number.interval(kept, number.SHARE)),
            Cell(number.significant(size.rows_per_second), _factor(size.speedup)),
            Cell(_milliseconds(size.latency_ms.get("p50"))),
            Cell(number.megabytes(size.bytes)),
        ],
    )


def _measured(measurements: Measurements, size: Size) -> str:
    metric, gain = measurements.metric(measurements.headline), size.against_student or Interval()
    change = f"{number.difference(gain.value, metric)} {number.interval(gain, metric)}".rstrip()
    way = "up" if size.where == "larger" else "down"
    costs = [f"at {number.times(size.speedup)} the speed"] if size.speedup is not None else []
    costs += [f"in {number.megabytes(size.bytes)}"] if size.bytes is not None else []
    return f"One size {way} would give {change} {' and '.join(costs)}".rstrip() + "."


def _searched(measurements: Measurements) -> list[str]:
    """From what a search has judged: the next slower and the next faster rung."""
    search = measurements.search
    taken = next((tried for tried in search.tried if tried.taken), None) if search else None
    if search is None or taken is None or not taken.rows_per_second or not _known(taken):
        return []
    # Cascades of the same rung are no other size.
    others = [one for one in search.tried if _known(one) and one.rows_per_second and one.rung != taken.rung]
    slower = [one for one in others if (one.rows_per_second or 0) < taken.rows_per_second]
    faster = [one for one in others if (one.rows_per_second or 0) > taken.rows_per_second]
    up = max(slower, key=lambda one: one.rows_per_second or 0, default=None)
    down = min(faster, key=lambda one: one.rows_per_second or 0, default=None)
    found = []
    for way, one in (("up", up), ("down", down)):
        if one is not None:
            speed = number.times((one.rows_per_second or 0) / taken.rows_per_second)
            name = f"{one.name}, given up early" if one.given_up_after else one.name
            found.append(f"One size {way} ({name}) kept {_kept(one)} at {speed} the speed.")
    if not found:
        return []
    cut = ", before it was trained to its end" if continued(measurements) else ""
    return [*found, f"That is on rows that it has not learned from, where the student kept {_kept(taken)}{cut}."]


def _known(tried: Tried) -> bool:
    return tried.retention is not None and tried.retention.value is not None


def _kept(tried: Tried) -> str:
    kept = tried.retention or Interval()
    return f"{number.percent(kept.value)} {number.interval(kept, number.SHARE)}".rstrip()


def _factor(value: float | None) -> str:
    return "" if value is None else f"{number.times(value)}"


def _milliseconds(value: float | None) -> str:
    return number.NONE if value is None else f"{number.significant(value)}{number.SPACE}ms"
