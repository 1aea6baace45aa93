"""The model card of a bundle: Markdown with the front matter that the Hugging Face hub reads.

The licence is left out: it is the user's to choose, and depends on data and teacher.
"""

from __future__ import annotations

from typing import Any

from tutelage.artifacts.measurements import Measurements
from tutelage.report import answer, comparison, number
from tutelage.report.template import markdown, render
from tutelage.report.use import run_name, snippets


def card(measurements: Measurements) -> str:
    """The card as Markdown; the same measurements give the same text."""
    roles = list(measurements.in_order)
    data = measurements.recipe.get("data", {})
    return render(
        "card.md.jinja",
        m=measurements,
        name=run_name(measurements),
        index=_index(measurements),
        sentence=answer.sentence(measurements),
        verdict=answer.verdict(measurements),
        roles=roles,
        heads=[markdown(comparison.title_of(measurements, role)) for role in roles],
        rows=[_row(row) for row in comparison.comparison(measurements)],
        coverage=f"{100 * measurements.confidence:.3g}{number.SPACE}%",
        snippets=snippets(measurements),
        limits={"max_tokens": data.get("max_tokens", "?"), "long_text": data.get("long_text", "truncate")},
        splits=measurements.data.get("splits", {}),
        describes={role: model.describes for role, model in measurements.models.items()},
    )


def _row(row: comparison.Row) -> dict[str, Any]:
    """Title and cells as Markdown, notes behind their figures."""
    title = f"{row.title} ({row.note})" if row.note else row.title
    return {"title": markdown(title), "cells": [markdown(f"{cell.figure} {cell.note}") for cell in row.cells]}


def _index(measurements: Measurements) -> list[dict[str, Any]]:
    student = measurements.models.get("student")
    scores = student.scores if student else {}
    return [
        {"name": name, "title": measurements.metric(name).title, "value": round(score.value, 5)}
        for name, score in scores.items()
        if score.value is not None
    ]
