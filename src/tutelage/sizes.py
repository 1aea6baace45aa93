"""The student one size smaller and one size larger: what another size would have given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tutelage.artifacts.measurements import Search
from tutelage.climb import Climb
from tutelage.errors import ModelError
from tutelage.made import Bench, Made
from tutelage.recipe import Recipe, StudentRecipe
from tutelage.student import build, ladder, matching
from tutelage.student.build import Shape
from tutelage.student.ladder import Rung
from tutelage.workshop import Workshop


@dataclass(frozen=True)
class Neighbour:
    """A student of the next size, as it would be deployed."""

    where: str
    """smaller or larger."""
    made: Made


def check(recipe: Recipe, shape: Shape, teacher: Any, between: Shape | None) -> None:
    """Raise `ModelError` when a neighbour of the shape asked for cannot follow this model as the recipe asks.

    `between` is the shape of an assistant, whom students then follow, or None.
    """
    if recipe.evaluate.neighbours and not recipe.student.searches:
        for rung in ladder.beside(shape, build.shape_of(teacher.config)):
            settings = ladder.settings_for(rung, recipe.student)
            matching.check(settings, rung.shape, teacher)
            if between is not None:
                _check_between(settings, rung, between)


def _check_between(settings: StudentRecipe, rung: Rung, assistant: Shape) -> None:
    try:
        matching.plan(settings, rung.shape, assistant)
    except ModelError as error:
        raise ModelError(
            f"`evaluate.neighbours` makes a student of {rung.shape.layers} layers, one size {rung.name}, and "
            f"`student.assistant` has {assistant.layers}: {error.given}",
            expected=error.expected,
            cure="take `student.layer_map: uniform`, a larger assistant, or leave out `evaluate.neighbours`",
        ) from error


def hear(workshop: Workshop, shape: Shape) -> None:
    """Let the teacher say at once what a student of some shape and its neighbours need, where they are asked for."""
    settings = workshop.recipe.student.training()
    if workshop.recipe.evaluate.neighbours:
        plans = [workshop.plan(settings, shape)]
        for rung in _rungs(workshop, shape):
            plans.append(workshop.plan(ladder.settings_for(rung, settings), rung.shape))
        workshop.signals(workshop.recording(plans))


def neighbours(workshop: Workshop, made: Made, climb: Climb | None, search: Search | None) -> list[Neighbour]:
    """The rungs beside the one that a search took, else half and twice the layers; made to learn in the same way."""
    if not workshop.recipe.evaluate.neighbours:
        return []
    if climb is not None and search is not None:
        return [Neighbour(where, other) for where, other in climb.beside(search).items()]
    found = []
    for rung in _rungs(workshop, made.learned.shape):
        settings, place = ladder.settings_for(rung, made.learned.settings), workshop.folder.sizes / rung.name
        bench = Bench(place / "student", place / "export", f"student, {rung.name}", f"compress, {rung.name}")
        if not workshop.has(settings, rung.shape, bench):
            told = f"layers: {rung.shape.layers}, feed-forward: {rung.shape.feed_forward}"
            workshop.progress.say(f"The student one size {rung.name} ({told})")
        found.append(Neighbour(rung.name, workshop.make(settings, rung.shape, bench)))
    return found


def _rungs(workshop: Workshop, shape: Shape) -> list[Rung]:
    return ladder.beside(shape, build.shape_of(workshop.teacher.model.config))
