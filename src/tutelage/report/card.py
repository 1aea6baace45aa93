"""The model card of a bundle: Markdown with the front matter that the Hugging Face hub reads.

It holds no texts of the data and no paths but file names: a bundle travels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import yaml

from tutelage.artifacts.measurements import Interval, Measurements, MetricInfo
from tutelage.report import answer, comparison, elsewhere, number, seeds
from tutelage.report.health import rows_of
from tutelage.report.template import render
from tutelage.report.use import run_name, snippets
from tutelage.tasks import TASKS

_WEAK = 0.05  # a class whose F1 is so far below the mean of all is named


def card(measurements: Measurements, *, licence: str | None = None) -> str:
    """The card as Markdown; the same measurements give the same text.

    `licence` is an identifier of the hub (apache-2.0 ...). It is the user's to choose, as it depends on the data and on
    the teacher: without one, the card says `unknown`.
    """
    roles = list(measurements.in_order)
    data = measurements.recipe.get("data")
    return render(
        "card.md.jinja",
        m=measurements,
        front=yaml.safe_dump(_front(measurements, licence), sort_keys=False, allow_unicode=True),
        name=run_name(measurements),
        sentence=answer.sentence(measurements),
        verdict=answer.verdict(measurements),
        doubt=answer.doubt(measurements),
        caution=answer.caution(measurements),
        disturbed=answer.disturbed(measurements),
        beside=answer.beside(measurements),
        seeds=seeds.rows(measurements),
        seed_heads=seeds.HEADS,
        seed_count=seeds.several(measurements),
        heads=[comparison.title_of(measurements, role) for role in roles],
        rows=comparison.comparison(measurements),
        scores=comparison.scores(measurements),
        elsewhere=elsewhere.elsewhere(measurements),
        elsewhere_heads=elsewhere.heads(measurements),
        coverage=f"{100 * measurements.confidence:.3g}{number.SPACE}%",
        snippets=snippets(measurements),
        reads=data if isinstance(data, Mapping) else {},
        weak=_weak(measurements),
        splits={name: rows_of(measurements.data, name) for name in measurements.data.get("splits") or {}},
    )


def _front(measurements: Measurements, licence: str | None) -> dict[str, Any]:
    """What the hub reads; `model-index` as in huggingface_hub's model card specification."""
    tags = ["tutelage", "knowledge-distillation", "onnx"]
    front: dict[str, Any] = {"license": licence or "unknown", "library_name": "onnx"}
    task = TASKS.get(measurements.task)
    # The hub refuses a tag that it does not know.
    if task is not None and task.pipeline_tag:
        front["pipeline_tag"] = task.pipeline_tag
    else:
        tags.append(measurements.task)
    front["tags"] = tags
    figures = [_figure(measurements.metric(name), score) for name, score in _scores(measurements).items()]
    if figures := [figure for figure in figures if figure]:
        result = {
            "task": {"type": measurements.task},
            "dataset": {"type": "local", "name": _data_name(measurements), "split": "test"},
            "metrics": figures,
        }
        front["model-index"] = [{"name": run_name(measurements), "results": [result]}]
    return front


def _figure(metric: MetricInfo, score: Interval) -> dict[str, Any]:
    if score.value is None:
        return {}
    return {"type": metric.name, "name": metric.title, "value": round(score.value, 5), "verified": False}


def _scores(measurements: Measurements) -> Mapping[str, Interval]:
    student = measurements.models.get("student")
    return student.scores if student else {}


def _data_name(measurements: Measurements) -> str:
    """File names of the test data, or of the data it was a share of."""
    data = measurements.recipe.get("data")
    given = (data.get("test") or data.get("train")) if isinstance(data, Mapping) else None
    sources = given if isinstance(given, list) else [given] if given else []
    return ", ".join(PurePath(str(source)).name for source in sources) or "unnamed"


def _weak(measurements: Measurements) -> list[tuple[str, str]]:
    """(class, F1) of the student's weakest classes, the worst first."""
    student = measurements.models.get("student")
    for panel in student.panels if student else []:
        if panel.kind == "per_class":
            columns = zip(panel.data["labels"], panel.data["f1"], panel.data["support"], strict=True)
            # Of a class without a test row nothing is known.
            ranked = sorted((float(f1), str(label)) for label, f1, support in columns if support)
            mean = sum(f1 for f1, _ in ranked) / max(len(ranked), 1)
            return [(label, number.percent(f1)) for f1, label in ranked if f1 < mean - _WEAK][:5]
    return []
