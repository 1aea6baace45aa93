"""The student one size smaller and one size larger: what another size would have given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from tutelage.artifacts.measurements import Search
from tutelage.climb import Climb
from tutelage.errors import ModelError, TrainingError
from tutelage.made import Bench, Made
from tutelage.recipe import Recipe
from tutelage.student import ladder, matching
from tutelage.student.build import Shape
from tutelage.student.ladder import Rung
from tutelage.workshop import Workshop


@dataclass(frozen=True)
class Neighbour:
    """A student of the next size, as it would be deployed."""

    where: str
    """smaller or larger."""
    made: Made


def check(recipe: Recipe, shape: Shape, teacher: Any, assistant: Shape | None) -> None:
    """Raise `ModelError` when a neighbour of the shape asked for cannot follow this model as the recipe asks, or not
    the assistant, if there is to be one."""
    if recipe.student.searches or not recipe.evaluate.neighbours:
        return
    for rung in ladder.beside(shape, recipe.student, teacher.config):
        settings = ladder.settings_for(rung, recipe.student)
        try:
            matching.check(settings, rung.shape, teacher)
            if assistant is not None:
                matching.plan(settings, rung.shape, assistant)
        except ModelError as error:
            given = f"of the student one size {rung.name} (`evaluate.neighbours`): {error.given}"
            raise ModelError(given, expected=error.expected, cure=error.cure) from error


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
        beside, make = climb.beside(search), climb.to_its_end
    else:
        beside = {rung.name: rung for rung in _rungs(workshop, made.learned.shape)}
        make = partial(_made, workshop, made)
    found = []
    for where, rung in beside.items():
        try:
            found.append(Neighbour(where, make(rung)))
        except TrainingError as error:
            # There is a student; what another size would have given is no reason to lose it.
            workshop.progress.warn(f"there is no student one size {where} to compare with: {error}")
    return found


def _made(workshop: Workshop, taken: Made, rung: Rung) -> Made:
    """A neighbour where nothing was searched."""
    settings, place = ladder.settings_for(rung, taken.learned.settings), workshop.folder.sizes / rung.name
    bench = Bench(place / "student", place / "export", f"student, {rung.name}", f"compress, {rung.name}")
    if not workshop.has(settings, rung.shape, bench):
        told = rung.shape.describe()
        workshop.progress.say(f"The student one size {rung.name} ({told})")
    return workshop.make(settings, rung.shape, bench)


def _rungs(workshop: Workshop, shape: Shape) -> list[Rung]:
    return ladder.beside(shape, workshop.recipe.student, workshop.teacher.model.config)
