"""All weights learn."""

from __future__ import annotations

from typing import Any

from tutelage.teacher.strategies.base import Plan, Prepared, Strategy


def _prepare(model: Any, plan: Plan) -> Prepared:  # noqa: ARG001 - siblings use them
    return Prepared()


STRATEGY = Strategy(
    name="full",
    title="Full fine-tuning",
    trains="all weights",
    reason="It reaches the most where there are some thousand labels and time for every layer.",
    source="",
    merges="",
    obstacle=lambda _: "",
    prepare=_prepare,
)
