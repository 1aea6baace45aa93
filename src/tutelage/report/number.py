"""How figures are written, everywhere the same: percentages with one decimal, sizes in MB, else 3 digits."""

from __future__ import annotations

import math

from tutelage.artifacts.measurements import Interval, MetricInfo

NONE = "–"
SPACE = "\u00a0"  # a figure and its unit stay on one line
MINUS = "\u2212"
SHARE = MetricInfo(name="share", title="Share")
"""Reads any ratio as a percentage."""
_SMALL = 0.01  # of which three decimals leave next to nothing


def significant(value: float | None, digits: int = 3) -> str:
    """So many significant digits, all of the whole part kept: 0.0123, 12.3, 1,234; tiny ones as 2.1e−06."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    if abs(value) < 1e-4:
        return f"{value:.{digits - 2}e}".replace("-", MINUS)
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal: 97.2 %."""
    return NONE if share is None else f"{_decimal(100 * share, 1)}{SPACE}%"


def score(value: float | None, metric: MetricInfo, *, unit: bool = True) -> str:
    """A score as its metric is read: 84.1 % or 0.412."""
    if value is None:
        return NONE
    if metric.percent:
        return percent(value) if unit else _decimal(100 * value, 1)
    if 0 < abs(value) < _SMALL:
        return significant(value)
    return _decimal(value, 3) if abs(value) < 10 else significant(value, 4)


def interval(bounds: Interval | None, metric: MetricInfo) -> str:
    """The interval alone: [82.7, 85.5]; empty when there is none."""
    if bounds is None or bounds.low is None or bounds.high is None:
        return ""
    return f"[{score(bounds.low, metric, unit=False)},{SPACE}{score(bounds.high, metric, unit=False)}]"


def difference(value: float | None, metric: MetricInfo) -> str:
    """A difference of two scores, signed: +1.4 points."""
    if value is None:
        return NONE
    unit = f"{SPACE}points" if metric.percent else ""
    text = score(value, metric, unit=False)
    # A rounded zero has no sign.
    sign = "+" if value > 0 and text.strip("0.,") else ""
    return f"{sign}{text}{unit}"


def times(factor: float | None) -> str:
    """A factor: 12.3 ×."""
    if factor is None:
        return NONE
    return f"{_decimal(factor, 1) if factor < 100 else significant(factor, 3)}{SPACE}×"


def megabytes(size: float | None) -> str:
    """Bytes in MB (10⁶): 7.9 MB, 132 MB, 0.05 MB."""
    if size is None:
        return NONE
    value = size / 1e6
    text = f"{value:,.0f}" if value >= 100 else _decimal(value, 1) if value >= 1 else significant(value, 2)
    return f"{text}{SPACE}MB"


def count(value: float | None) -> str:
    """Whole numbers: 2,568; from a hundred thousand on 613 k, 22.7 M."""
    if value is None:
        return NONE
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e5, "k")):
        if value >= size:
            return f"{significant(value / (1e3 if unit == 'k' else size))}{SPACE}{unit}"
    return f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """A time: 0.42 s, 12.3 s, 4 min 05 s, 2 h 10 min."""
    if value is None:
        return NONE
    if value < 59.95:
        return f"{significant(value, 2) if value < 1 else _decimal(value, 1)}{SPACE}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{SPACE}min {rest:02d}{SPACE}s"
    return f"{minutes // 60}{SPACE}h {minutes % 60:02d}{SPACE}min"


def _decimal(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    # A rounded zero has no sign.
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", MINUS)
