"""The last layers learn; what comes before them is computed once."""

from __future__ import annotations

from typing import Any

from tutelage.errors import ModelError
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.teacher.strategies import anatomy
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy


def _refuse(model: Any, settings: TeacherRecipe) -> None:
    wanted, there = settings.layers or 0, len(anatomy.found(model).layers)
    if wanted > there:
        raise ModelError(
            f"`teacher.layers` is {wanted}, but {settings.model} has {there} layers",
            expected=f"1 to {there}",
            cure="lower `teacher.layers`, or set `teacher.strategy: full` to train everything",
        )


def _prepare(model: Any, plan: Plan) -> Prepared:
    found = anatomy.found(model)
    wanted, there = plan.settings.layers or 0, len(found.layers)
    names = [name for layer in found.layers[there - wanted :] for name in layer]
    anatomy.train_only(model, [*names, *found.above])
    return Prepared(note=f"{wanted} of {there} layers learn.")


STRATEGY = Strategy(
    name="last-n",
    title="Training the last layers",
    trains="the last layers and the head",
    reason="It is the quickest way that still changes how the model reads: the layers below run once a text.",
    source="arXiv 1911.03090",
    merges="",
    obstacle=anatomy.missing_layers,
    prepare=_prepare,
    refuse=_refuse,
)
