"""The panels of all models, side by side: one way to show each kind, whatever the task that drew it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tutelage.artifacts.measurements import Measurements
from tutelage.report import number
from tutelage.report.charts import common_limits, reliability_chart, scatter_chart
from tutelage.report.comparison import title_of

MOST_CLASSES = 30  # a larger confusion matrix is unreadable: its most frequent classes are shown
_DENSE = 7  # from so many classes on, cells are small and labels are turned
_RAW = 2_000  # characters of a panel that this version cannot draw


@dataclass(frozen=True)
class View:
    """One model's panel, ready for the template that has the name of its kind."""

    role: str
    name: str
    content: Any


@dataclass(frozen=True)
class Group:
    """The same panel of several models; `kind` names a macro in panels.html.jinja."""

    kind: str
    title: str
    views: list[View]


@dataclass(frozen=True)
class Heat:
    """A cell of a confusion matrix: its count as shown and in full, and its share of the row."""

    text: str
    told: str
    share: float
    right: bool


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix; rows are true classes."""

    labels: list[str]
    rows: list[tuple[str, list[Heat]]]
    dense: bool
    omitted: int
    breadth: float
    """Of its card in rem, when it is not dense, so that nothing is cut off."""


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram; `share` is of the longest."""

    label: str
    text: str
    share: float


def groups(measurements: Measurements) -> list[Group]:
    """Panels of equal kind and title together, in the order in which the models name them."""
    models = list(measurements.in_order.values())
    found: dict[tuple[str, str], list[View]] = {}
    for role, model in measurements.in_order.items():
        for panel in model.panels:
            name = title_of(measurements, role)
            peers = [other.data for model in models for other in model.panels if other.title == panel.title]
            data = {**panel.data, **common_limits(peers)}
            kind, content = view(panel.kind, data, role=role, name=f"{name}, {panel.title}")
            found.setdefault((kind, panel.title), []).append(View(role, name, content))
    return [Group(kind, title, views) for (kind, title), views in found.items()]


def view(kind: str, data: Mapping[str, Any], *, role: str = "other", name: str = "") -> tuple[str, Any]:
    """(kind, content) of a panel; a kind that is unknown, or data that do not fit it, become `raw`."""
    try:
        content = _DRAWINGS[kind](data, role, name) if kind in _DRAWINGS else _TABLES[kind](data)
    except (KeyError, TypeError, ValueError, IndexError):
        content = None
    if content is None:
        return "raw", json.dumps(data, ensure_ascii=False, default=str)[:_RAW]
    return kind, content


def per_class_rows(views: Sequence[View]) -> list[tuple[str, str, list[Mapping[str, str] | None]]]:
    """(class, support, figures of each model) of every class that any model knows."""
    labels = dict.fromkeys(label for item in views for label in item.content)
    rows = []
    for label in labels:
        figures = [item.content.get(label) for item in views]
        support = next((figure["support"] for figure in figures if figure), number.NONE)
        rows.append((label, support, figures))
    return rows


def _confusion(data: Mapping[str, Any]) -> Matrix:
    labels, counts = [str(label) for label in data["labels"]], data["counts"]
    totals = [sum(row) for row in counts]
    keep = sorted(sorted(range(len(labels)), key=lambda index: -totals[index])[:MOST_CLASSES])
    rows, dense = [], len(keep) >= _DENSE
    for i in keep:
        cells = []
        for j in keep:
            share = counts[i][j] / totals[i] if totals[i] else 0.0
            among = f"{counts[i][j]:,} of {totals[i]:,} ({number.percent(share)})"
            told = f"{labels[i]} taken for {labels[j]}: {among}"
            text = _short(counts[i][j]) if dense else f"{counts[i][j]:,}"
            cells.append(Heat(text, told, round(share, 3), i == j))
        rows.append((labels[i], cells))
    shown = [labels[i] for i in keep]
    return Matrix(shown, rows, dense, len(labels) - len(keep), _breadth(shown))


def _breadth(labels: Sequence[str]) -> float:
    """Of a card with a confusion matrix of these labels in rem: a column for names, one for each, and its frame."""
    longest = max(map(_wide, labels), default=0.0)
    name, column = 0.5 * longest + 0.4, max(3.3, 0.43 * longest + 0.4)
    return round(min(name, 8.5) + len(labels) * (min(column, 8.5) + 0.13) + 2.6, 1)


def _wide(label: str) -> float:
    """How many Latin letters a label is as wide as; those of Chinese, Japanese and Korean count for two."""
    return sum(2.0 if unicodedata.east_asian_width(letter) in "WF" else 1.0 for letter in label)


def _per_class(data: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    columns = zip(data["labels"], data["precision"], data["recall"], data["f1"], data["support"], strict=True)
    return {
        str(label): {
            # Without a test row nothing was there to be found.
            "precision": number.percent(precision),
            "recall": number.percent(recall) if support else number.NONE,
            "f1": number.percent(f1) if support else number.NONE,
            "share": f"{f1:.3f}",
            "support": number.count(support),
        }
        for label, precision, recall, f1, support in columns
    }


def _histogram(data: Mapping[str, Any]) -> list[Bar]:
    total, most = sum(data["counts"]), max(data["counts"], default=0)
    return [
        Bar(
            str(label),
            f"{number.count(count)} · {number.percent(count / total if total else 0.0)}",
            round(count / most, 4) if most else 0.0,
        )
        for label, count in zip(data["labels"], data["counts"], strict=True)
    ]


def _short(count: int) -> str:
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 10_000 else f"{count // 1000}k"


_TABLES: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "confusion": _confusion,
    "per_class": _per_class,
    "histogram": _histogram,
}
_DRAWINGS: dict[str, Callable[[Mapping[str, Any], str, str], Markup | None]] = {
    "scatter": scatter_chart,
    "reliability": reliability_chart,
}
