"""What a recipe asks of a task that the task cannot give: every such problem at once, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable

from tutelage.errors import RecipeError
from tutelage.recipe import Recipe
from tutelage.student import curriculum, losses
from tutelage.tasks import Task
from tutelage.training import regular, until


def unfit(recipe: Recipe, task: Task | type[Task]) -> None:
    """Raise `RecipeError` with all that does not fit; of a task that is not bound yet less is known."""
    looks: list[Callable[[], object]] = [
        lambda: losses.choose(recipe.student.loss, task),
        lambda: curriculum.refuse_unfit(recipe.student, task),
        lambda: regular.refuse_unfit(recipe.teacher, task),
        # What a task measures is known when its labels are.
        lambda: until.goal(recipe.teacher.until, task) if isinstance(task, Task) else None,
    ]
    problems: list[str] = []
    for look in looks:
        try:
            look()
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError("the recipe", problems)
