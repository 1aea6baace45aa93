"""The report: one HTML file that opens anywhere, loads nothing, and says the answer first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tutelage.artifacts.measurements import Disagreement, Measurements
from tutelage.report import answer, charts, comparison, elsewhere, number, panels, search, seeds, sizes, texts
from tutelage.report.health import Health, health, rows_of
from tutelage.report.template import asset, render
from tutelage.report.use import recipe_text, run_name, snippets
from tutelage.storage import write_text

_SECTIONS = {
    "comparison": "Side by side",
    "cost": "What it costs, what it keeps",
    "seeds": "From other seeds",
    "sizes": "One size up, one size down",
    "scores": "All scores",
    "elsewhere": "Other data",
    "closer": "A closer look",
    "differences": "Where the student differs",
    "search": "How the student was found",
    "choices": "What was chosen, and why",
    "texts": "Would more text help?",
    "data": "The data",
    "training": "The training",
    "use": "How to use it",
    "method": "How it was measured",
    "recipe": "The recipe",
}
_MACHINE = {"cpu": "processor", "memory_gb": "memory, GB", "onnxruntime": "ONNX Runtime", "torch": "PyTorch"}
_SHOWN = 280  # characters of a text before it is folded
_KEPT = 4_000  # characters of a text in the page at all: the data has the rest


@dataclass(frozen=True)
class _Example:
    start: str
    rest: str
    label: str
    teacher: str
    student: str


def write(measurements: Measurements, path: Path) -> None:
    """Write the report, whole or not at all. Raises `StorageError` when the disk refuses."""
    write_text(path, html(measurements))


def html(measurements: Measurements) -> str:
    """The report as one HTML document; the same measurements give the same bytes."""
    metric = measurements.metric(measurements.headline)
    values = {
        **_answer(measurements),
        **_models(measurements),
        **_run(measurements),
        "m": measurements,
        "css": asset("page.css"),
        "coverage": f"{100 * measurements.confidence:.3g}{number.SPACE}%",
        "metric_title": metric.title,
        "headline_title": answer.lowered(metric.title),
        "machine_titles": _MACHINE,
        "plain": _plain,
        "facts": _facts,
        "per_class_rows": panels.per_class_rows,
    }
    return render("page.html.jinja", **values, sections=_sections(measurements, values))


def _answer(measurements: Measurements) -> dict[str, Any]:
    return {
        "headline": answer.headline(measurements),
        "sentence": answer.sentence(measurements),
        "missed": search.missed(measurements),
        "verdict": answer.verdict(measurements),
        "doubt": answer.doubt(measurements),
        "caution": answer.caution(measurements),
        "disturbed": answer.disturbed(measurements),
        "beside": answer.beside(measurements),
        "tiles": answer.tiles(measurements),
        "name": run_name(measurements),
        "created": _day(measurements.created),
        "test_rows": rows_of(measurements.data, "test"),
    }


def _models(measurements: Measurements) -> dict[str, Any]:
    roles = list(measurements.in_order)
    runtimes = {role: comparison.main_runtime(measurements, role) for role in roles}
    return {
        "roles": roles,
        "titles": {role: comparison.title_of(measurements, role) for role in roles},
        "subtitles": {role: comparison.subtitle_of(measurements, role) for role in roles},
        "runtimes": {role: comparison.runtime_title(name) if name else "" for role, name in runtimes.items()},
        "hollow": charts.runtimes_shown(measurements),
        "comparison": comparison.comparison(measurements),
        "scores": comparison.scores(measurements),
        "seeds": seeds.rows(measurements),
        "seed_heads": seeds.HEADS,
        "seed_count": seeds.several(measurements),
        "sizes": sizes.rows(measurements),
        "elsewhere": elsewhere.elsewhere(measurements),
        "elsewhere_heads": elsewhere.heads(measurements),
        "size_chart": charts.size_chart(measurements),
        "speed_chart": charts.speed_chart(measurements),
        "groups": panels.groups(measurements),
        "disagreements": [_example(row) for row in measurements.disagreements],
    }


def _run(measurements: Measurements) -> dict[str, Any]:
    metric = measurements.metric(measurements.headline)
    wanted = (("score", f"{metric.title} on validation", metric.percent), ("loss", "Training loss", False))
    curves = [
        (f"{title}, by epoch", chart)
        for key, title, percent in wanted
        if (chart := charts.curve_chart(measurements, key, title, percent=percent)) is not None
    ]
    seconds = {stage: taken for stage, taken in measurements.times.items() if taken is not None}
    longest = max(seconds.values(), default=0.0)
    times = [
        panels.Bar(stage, number.seconds(taken), round(taken / longest, 4) if longest else 0.0)
        for stage, taken in seconds.items()
    ]
    return {
        "health": health(measurements.data),
        "searched": search.sentence(measurements),
        "rungs": search.rows(measurements),
        "curve_rows": texts.rows(measurements.learning_curve),
        "curve_chart": texts.chart(measurements.learning_curve),
        "frontier": search.frontier(measurements),
        "searched_coverage": search.coverage(measurements),
        "curves": curves,
        "times": times,
        "total_time": sum(seconds.values()),
        "snippets": snippets(measurements),
        "recipe": recipe_text(measurements),
    }


def _sections(measurements: Measurements, values: Mapping[str, Any]) -> dict[str, str]:
    """Titles of the sections that have something to show."""
    told: Health = values["health"]
    shown = {
        "cost": values["size_chart"] or values["speed_chart"],
        "seeds": values["seeds"],
        "sizes": values["sizes"],
        "elsewhere": values["elsewhere"],
        "closer": values["groups"],
        "differences": measurements.disagreements,
        "search": values["rungs"],
        "choices": measurements.choices,
        "texts": values["curve_rows"],
        "data": told.splits or told.sources or told.warnings,
        "training": values["curves"] or values["times"],
        "recipe": values["recipe"],
    }
    return {name: title for name, title in _SECTIONS.items() if shown.get(name, True)}


def _example(row: Disagreement) -> _Example:
    text, start = row.text, row.text
    if len(text) > _SHOWN:
        start = text[:_SHOWN].rsplit(None, 1)[0] if " " in text[_SHOWN // 2 : _SHOWN] else text[:_SHOWN]
    rest = text[len(start) : _KEPT]
    if len(text) > _KEPT:
        rest += f" … ({len(text) - _KEPT:,} more characters)"
    return _Example(start, rest, row.label, row.teacher, row.student)


def _day(created: str) -> str:
    """An ISO 8601 time as people write it; whatever else was given, as it is."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment.day} {moment:%B %Y, %H:%M}"


def _facts(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures behind a choice, each with its name; those of several things are a line for each."""
    found = []
    for key, value in figures.items():
        name = key.replace("bytes_", "size_").replace("_", " ")
        if isinstance(value, Mapping):
            found += [(str(inner), _plain(item)) for inner, item in value.items()]
        else:
            sized = "bytes" in key and isinstance(value, int | float)
            found.append((name, number.megabytes(value) if sized else _plain(value)))
    return found


def _plain(value: Any) -> str:
    """Any JSON value in a line."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: number.NONE}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number.significant(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return ", ".join(_plain(item) for item in value) if isinstance(value, list) else str(value)
