"""How the student was found: every rung that was looked at, the cheapest first."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.artifacts.measurements import Measurements, Search, Tried
from tutelage.report import number


@dataclass(frozen=True)
class Row:
    """One rung, ready to be shown."""

    name: str
    describes: str
    kept: str
    interval: str
    rate: str
    latency: str
    slowest: str
    size: str
    verdict: str
    taken: bool


def goal(search: Search) -> str:
    """What was asked for, in a few words."""
    parts = []
    if search.keep is not None:
        parts.append(f"keeps {number.percent(search.keep)} with {number.percent(search.confidence)} confidence")
    if search.max_latency_ms is not None:
        parts.append(f"answers one text in {search.max_latency_ms:g}{number.SPACE}ms")
    if search.max_mb is not None:
        parts.append(f"takes at most {search.max_mb:g}{number.SPACE}MB")
    return ", ".join(parts)


def sentence(measurements: Measurements) -> str:
    """Whether the goal was reached, and what the search took."""
    search = measurements.search
    if search is None:
        return ""
    best = "the best" if search.keep is None else "the first on a ladder, from the fastest shape up,"
    wanted = f"The student was found for a goal: {best} that {goal(search)}."
    if not search.reached:
        wanted = f"No student was found for the goal: one that {goal(search)}. The best one was taken."
    took = f" Training took {number.seconds(search.seconds)} of {number.seconds(search.allowed_seconds)} allowed."
    return f"{wanted}{took if search.seconds is not None and search.allowed_seconds is not None else ''}"


def coverage(measurements: Measurements) -> str:
    """Of the intervals in the table: two-sided, so that one side has the confidence asked for."""
    return number.percent(2 * measurements.search.confidence - 1) if measurements.search else ""


def rows(measurements: Measurements) -> list[Row]:
    """All rungs, or nothing where the recipe named the shape."""
    return [_row(tried) for tried in measurements.search.tried] if measurements.search else []


def _row(tried: Tried) -> Row:
    kept = tried.retention
    judged = kept is not None and kept.value is not None
    return Row(
        name=tried.name,
        describes=tried.describes,
        kept=number.percent(kept.value) if kept is not None and kept.value is not None else number.NONE,
        interval=number.interval(kept, number.SHARE) if kept is not None and judged else "",
        rate=number.significant(tried.rows_per_second) if tried.rows_per_second is not None else number.NONE,
        latency=_milliseconds(tried, "p50"),
        slowest=_milliseconds(tried, "p95"),
        size=number.megabytes(tried.bytes) if tried.bytes is not None else number.NONE,
        verdict=tried.verdict,
        taken=tried.taken,
    )


def _milliseconds(tried: Tried, percentile: str) -> str:
    value = tried.latency_ms.get(percentile)
    return number.NONE if value is None else f"{number.significant(value)}{number.SPACE}ms"
