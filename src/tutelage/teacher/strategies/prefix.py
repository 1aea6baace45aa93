"""Keys and values in front of every layer learn, the model stays. Li and Liang 2021, arXiv 2101.00190."""

from __future__ import annotations

from typing import Any

import torch

from tutelage.artifacts import prefix
from tutelage.artifacts.prefix import Prefix
from tutelage.teacher.strategies import anatomy
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy

VECTORS = 20


def _obstacle(model: Any) -> str:
    missing = anatomy.missing_layers(model)
    return missing or ("" if prefix.places(model) else "nothing can be put in front of its keys and values")


def _prepare(model: Any, plan: Plan) -> Prepared:
    found = anatomy.found(model)
    places = {name: place for name, place in prefix.places(model).items() if found.inside(name)}
    torch.manual_seed(plan.seed)
    prefix.attach(model, {name: Prefix(heads, VECTORS, size) for name, (heads, size) in places.items()})
    learning = [f"{name}.prefix.{part}" for name in places for part in ("keys", "values")]
    anatomy.train_only(model, [*learning, *found.above])
    return Prepared()


STRATEGY = Strategy(
    name="prefix",
    title="Prefix tuning",
    trains=f"{VECTORS} keys and values in front of those of every layer, and the head",
    reason="It changes no weight of the layers; with about as many weights, `lora` learned more here.",
    source="arXiv 2101.00190",
    merges="",
    obstacle=_obstacle,
    prepare=_prepare,
    in_front=VECTORS,
)
