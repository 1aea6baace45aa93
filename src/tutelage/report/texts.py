"""Would more text help: the learning curve as a table and as a drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tutelage.artifacts.measurements import CurvePoint, Interval, LearningCurve
from tutelage.report import number
from tutelage.report.charts import log_ticks
from tutelage.report.plot import COLOURS, draw

_LOOKS = ((COLOURS["student"], "o"), (COLOURS["teacher"], "s"), (COLOURS["other"], "^"))


@dataclass(frozen=True)
class Row:
    """A point of the curve, as it is shown."""

    of: str
    texts: str
    loss: str
    interval: str


def rows(curve: LearningCurve | None) -> list[Row]:
    """Every point, in order."""
    points = curve.points if curve else []
    return [Row(p.of, f"{p.texts:,}", _loss(p.loss.value), _between(p.loss)) for p in points]


def chart(curve: LearningCurve | None) -> Markup | None:
    """Loss by the number of texts; None where there are no two points to compare."""
    series: dict[str, list[CurvePoint]] = {}
    for point in curve.points if curve else []:
        if point.loss.value is not None and point.texts > 0:
            series.setdefault(point.of, []).append(point)
    if not any(len(points) > 1 for points in series.values()):
        return None

    def paint(axes: Any) -> None:
        places = []
        for (name, points), (colour, marker) in zip(series.items(), _LOOKS, strict=False):
            xs, ys = [math.log10(point.texts) for point in points], [point.loss.value or 0.0 for point in points]
            places += xs
            axes.plot(xs, ys, color=colour, marker=marker, markersize=6, linewidth=1.8)
            axes.annotate(name, (xs[0], ys[0]), textcoords="offset points", xytext=(8, 6), color=colour)
        log_ticks(axes, places)
        axes.set_xlabel("texts (log scale)")
        axes.set_ylabel("validation loss")

    told = "; ".join(
        f"{name}: " + ", ".join(f"{_loss(point.loss.value)} with {point.texts:,}" for point in points)
        for name, points in series.items()
    )
    return draw(f"Validation loss of a linear model by the number of texts. {told}", paint, width=400, height=250)


def _loss(value: float | None) -> str:
    return number.NONE if value is None else f"{value:.4f}"


def _between(loss: Interval) -> str:
    return "" if loss.low is None or loss.high is None else f"{loss.low:.4f} to {loss.high:.4f}"
