"""Only what reads the last layer learns; the Transformer itself runs once a text."""

from __future__ import annotations

from typing import Any

from tutelage.teacher.strategies import anatomy
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy


def _prepare(model: Any, plan: Plan) -> Prepared:  # noqa: ARG001 - siblings use it
    anatomy.train_only(model, anatomy.found(model).above)
    return Prepared()


STRATEGY = Strategy(
    name="head",
    title="Training the head",
    trains="the head alone: the pooler where there is one, and the classifier",
    reason="It takes seconds an epoch and shows what the model knows already; for first looks and very few labels.",
    source="",
    merges="",
    obstacle=anatomy.missing_layers,
    prepare=_prepare,
)
