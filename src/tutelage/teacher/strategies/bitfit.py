"""Biases learn, matrices stay. Ben Zaken, Ravfogel and Goldberg 2022, arXiv 2106.10199."""

from __future__ import annotations

from typing import Any

from tutelage.teacher.strategies import anatomy
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy


def _obstacle(model: Any) -> str:
    found = anatomy.study(model)
    if found is None:
        return anatomy.missing_layers(model)
    return "" if _biases(found) else "its layers have no biases"


def _prepare(model: Any, plan: Plan) -> Prepared:  # noqa: ARG001 - siblings use it
    found = anatomy.found(model)
    anatomy.train_only(model, [*_biases(found), *found.above])
    return Prepared()


def _biases(found: anatomy.Anatomy) -> list[str]:
    inside = [name for layer in found.layers for name in layer]
    return [name for name in [*found.below, *inside] if name.endswith(".bias")]


STRATEGY = Strategy(
    name="bitfit",
    title="BitFit",
    trains="every bias and the head",
    reason="It adds nothing to the model and keeps almost all of it: for small data and little memory.",
    source="arXiv 2106.10199",
    merges="",
    obstacle=_obstacle,
    prepare=_prepare,
)
