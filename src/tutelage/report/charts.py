"""The drawings of the report that are not tables: trade-offs, scatter, calibration, training curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from tutelage.artifacts.measurements import Interval, Measurements, MetricInfo
from tutelage.report import number
from tutelage.report.comparison import main_runtime, runtime_title, title_of
from tutelage.report.plot import COLOURS, colour_of, draw

_MARKERS = {"teacher": "s", "student": "o", "control": "D", "baseline": "^"}
_APART = 0.035  # least distance of two points, as a share of the axis
_DOTS = 700  # beyond that a scatter plot only grows in bytes


@dataclass(frozen=True)
class _Point:
    role: str
    x: float
    score: Interval
    hollow: bool = False


def size_chart(measurements: Measurements) -> Markup | None:
    """Headline score against size on disk; None with fewer than two models."""
    points = [
        _Point(role, model.bytes / 1e6, model.scores[measurements.headline])
        for role, model in measurements.in_order.items()
        if model.bytes and measurements.headline in model.scores
    ]
    return _trade_off(measurements, points, "MB on disk")


def speed_chart(measurements: Measurements) -> Markup | None:
    """Headline score against rows per second, in every runtime that was measured."""
    points = [
        _Point(role, rate, model.scores[measurements.headline], runtime != main_runtime(measurements, role))
        for role, model in measurements.in_order.items()
        for runtime, rate in model.rows_per_second.items()
        if rate and measurements.headline in model.scores
    ]
    return _trade_off(measurements, points, "rows per second")


def curve_chart(measurements: Measurements, key: str, title: str, *, percent: bool = False) -> Markup | None:
    """One figure of the training history by epoch, all models over each other; None when there is none."""
    series = {role: _series(epochs, key, 100.0 if percent else 1.0) for role, epochs in measurements.history.items()}
    series = {role: points for role, points in series.items() if points}
    if not any(len(points) > 1 for points in series.values()):
        return None
    values = [y for points in series.values() for _, y in points]

    def paint(axes: Any) -> None:
        for role, points in series.items():
            axes.plot(
                *zip(*points, strict=True),
                color=colour_of(role),
                marker=_MARKERS.get(role, "o"),
                markersize=4.5,
                linewidth=1.8,
            )
        if min(values) > 0 and max(values) / min(values) > 20:
            axes.set_yscale("log")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{title}, %" if percent else title)

    told = "; ".join(f"{role} ends at {number.significant(points[-1][1])}" for role, points in series.items())
    return draw(f"{title} by epoch: {told}", paint, width=400, height=250)


def common_limits(panels: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """The `limits` that let scatter panels be compared; empty for panels of another kind."""
    values = [value for data in panels for axis in ("x", "y") for value in _numbers(data.get(axis))]
    return {"limits": (min(values), max(values))} if values else {}


def scatter_chart(data: Mapping[str, Any], role: str, name: str) -> Markup | None:
    """Predictions against labels, with the diagonal on which they would be equal."""
    xs, ys = _numbers(data.get("x")), _numbers(data.get("y"))
    if not xs or len(xs) != len(ys):
        return None
    step = max(1, math.ceil(len(xs) / _DOTS))
    x_title, y_title = str(data.get("x_title", "x")), str(data.get("y_title", "y"))

    def paint(axes: Any) -> None:
        low, high = data.get("limits") or (min(*xs, *ys), max(*xs, *ys))
        margin = 0.03 * (high - low)
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
        axes.plot([low, high], [low, high], color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        dots: Any = {"color": colour_of(role), "markersize": 3.8, "alpha": 0.4, "markeredgewidth": 0}
        axes.plot(xs[::step], ys[::step], "o", **dots)
        axes.set_xlabel(x_title[:60])
        axes.set_ylabel(y_title[:60])

    return draw(f"{name}: {y_title} against {x_title}, {len(xs[::step])} rows", paint, width=225, height=212)


def reliability_chart(data: Mapping[str, Any], role: str, name: str) -> Markup | None:
    """Share of right answers by confidence; the larger a dot, the more rows."""
    said, right, rows = (_numbers(data.get(key)) for key in ("confidence", "accuracy", "count"))
    if not said or not len(said) == len(right) == len(rows):
        return None
    most = max(rows) or 1.0

    def paint(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(said, right, color=colour_of(role), linewidth=1.4)
        sizes = [10 + 90 * count / most for count in rows]
        axes.scatter(said, right, s=sizes, color=colour_of(role), linewidths=0, zorder=3)
        axes.set_xlim(-0.02, 1.04)
        axes.set_ylim(-0.02, 1.06)
        ticks = [0, 0.25, 0.5, 0.75, 1]
        axes.set_xticks(ticks, ["0", "25", "50", "75", "100"])
        axes.set_yticks(ticks, ["0", "25", "50", "75", "100"])
        axes.set_xlabel("confidence, %")
        axes.set_ylabel("right, %")

    told = ", ".join(f"{100 * s:.0f} % sure, {100 * r:.0f} % right" for s, r in zip(said, right, strict=True))
    return draw(f"{name}: {told}", paint, width=225, height=205)


def _trade_off(measurements: Measurements, points: Sequence[_Point], axis: str) -> Markup | None:
    points = [point for point in points if point.score.value is not None]
    if len({point.role for point in points}) < 2:
        return None
    metric = measurements.metric(measurements.headline)
    places = _apart([math.log10(point.x) for point in points])

    def paint(axes: Any) -> None:
        for point, place in zip(points, places, strict=True):
            value, below, above = _bar(point.score, metric)
            colour = colour_of(point.role)
            axes.errorbar(
                place,
                value,
                yerr=[[below], [above]],
                color=colour,
                marker=_MARKERS.get(point.role, "v"),
                markersize=10 if point.role == "student" else 8,
                markerfacecolor=COLOURS["paper"] if point.hollow else colour,
                markeredgewidth=1.6,
                elinewidth=1.6,
                capsize=3.5,
            )
        log_ticks(axes, places)
        axes.set_xlabel(f"{axis} (log scale)")
        axes.set_ylabel(f"{metric.title}{', %' if metric.percent else ''}")

    told = "; ".join(
        f"{title_of(measurements, point.role)} {number.score(point.score.value, metric)} "
        f"at {number.significant(point.x)} {axis}"
        for point in points
    )
    return draw(f"{metric.title} against {axis}: {told}", paint, width=400, height=285)


def runtimes_shown(measurements: Measurements) -> list[tuple[str, str]]:
    """(role, caption) of every model's hollow points in the speed chart."""
    return [
        (role, f"{title_of(measurements, role)}, {runtime_title(runtime)}")
        for role, model in measurements.in_order.items()
        for runtime, rate in model.rows_per_second.items()
        if rate and runtime != main_runtime(measurements, role)
    ]


def _bar(score: Interval, metric: MetricInfo) -> tuple[float, float, float]:
    scale = 100.0 if metric.percent else 1.0
    value = score.value or 0.0
    low = value if score.low is None else score.low
    high = value if score.high is None else score.high
    return scale * value, scale * max(value - low, 0), scale * max(high - value, 0)


def _apart(places: list[float]) -> list[float]:
    """Points at the same place are set side by side, so that each interval is seen."""
    span = max(max(places) - min(places), 0.3)
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + _APART * span)
    return moved


def log_ticks(axes: Any, places: Sequence[float]) -> None:
    """1, 2, 5 in every decade, as plain numbers; places are decimal logarithms."""
    low, high = min(places), max(places)
    margin = max(0.08 * (high - low), 0.1)
    low, high = low - margin, high + margin
    steps = (1, 2, 5) if high - low < 2.2 else (1, 3) if high - low < 3.2 else (1,)
    ticks = [factor * 10.0**decade for decade in range(math.floor(low), math.ceil(high) + 1) for factor in steps]
    ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
    axes.set_xlim(low, high)
    axes.set_xticks([math.log10(tick) for tick in ticks], [f"{tick:,.10g}" for tick in ticks])


def _series(epochs: Sequence[Mapping[str, Any]], key: str, scale: float) -> list[tuple[float, float]]:
    found = []
    for position, epoch in enumerate(epochs, start=1):
        at, value = epoch.get("epoch", position), epoch.get(key)
        if isinstance(value, int | float) and isinstance(at, int | float) and math.isfinite(value):
            found.append((float(at), scale * value))
    return found


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, list | tuple):
        return []
    return [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
