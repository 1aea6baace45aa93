"""What the parts of a recipe forbid each other: every misfit in words, all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tutelage import recipe_transfer
from tutelage.tasks import TASKS

if TYPE_CHECKING:
    from tutelage.recipe import Recipe


def misfits(recipe: Recipe) -> list[str]:
    """What is wrong between parts that are sound by themselves; empty where nothing is."""
    return [*_reading(recipe), *_hearing(recipe), *_levels(recipe), *_choosing(recipe), *_without_labels(recipe)]


def _reading(recipe: Recipe) -> Iterator[str]:
    """Of texts: how they are read, drawn and matched."""
    data, student = recipe.data, recipe.student
    if student.follows_tokens and data.long_text == "window":
        yield (
            "`data.long_text: window` reads a text more than once, and what is matched token by token "
            "(student.hidden_of: token, attention, relations) needs each token once; take `long_text: truncate`"
        )
    yield from recipe_transfer.misfits(student, data.unlabelled)
    if data.group and data.validation and data.test and not student.searches:
        yield (
            "`data.group` would do nothing: it holds rows of train together where splits are made from it, and "
            "validation and test are given; leave it out"
        )
    if recipe.evaluate.neighbours and isinstance(student.layer_map, list):
        yield (
            "`evaluate.neighbours` makes students of other depths, and `student.layer_map` names those of one: "
            "take `layer_map: uniform` or `last`"
        )
    if student.curriculum and data.draws_unevenly:
        yield (
            "`student.curriculum` draws texts by how hard they are, and `data.more` with `weight` or "
            "`sampling_temperature` by where they come from: choose one"
        )


def _hearing(recipe: Recipe) -> Iterator[str]:
    """Of what speaks beside the teacher: no label may be heard again."""
    if recipe.teacher.wide and recipe.data.group:
        yield (
            "`teacher.wide` learns labels and answers each text by those of others, but does not know which rows "
            "`data.group` holds together: leave out one of them"
        )
    if recipe.teacher.wide and recipe.student.augment:
        yield (
            "`teacher.wide` has learned the labels of the texts that `student.augment` changes, and would only "
            "repeat them to the copies: leave out one of them"
        )


def _levels(recipe: Recipe) -> Iterator[str]:
    """Of a cascade: it needs a part that says how sure it is of a whole text; a third level, students to put there."""
    needs = {
        "a wide part (`student.wide`)": recipe.student.wide is not False,
        "texts that are read in one piece (`data.long_text: truncate`)": recipe.data.long_text != "window",
        "a task whose answers are more or less sure": TASKS[recipe.task].outputs == "scores",
    }
    missing = [need for need, met in needs.items() if not met]
    asked = ["`compress.cascade: true`"] if recipe.compress.cascade is True else []
    asked += ["`compress.cascade_levels: 3`"] if recipe.compress.cascade_levels > 2 else []
    if missing and asked:
        yield f"{' and '.join(asked)} would do nothing: a cascade needs {' and '.join(missing)}; leave it out"
    if recipe.compress.cascade_levels > 2 and (recipe.student.keep is None or recipe.compress.cascade != "auto"):
        yield (
            "`compress.cascade_levels: 3` would do nothing: it needs a search for a share (`student.keep`) and "
            "`compress.cascade: auto`; give them, or leave it out"
        )


def _choosing(recipe: Recipe) -> Iterator[str]:
    """Of trials of the student: it must hear its teacher."""
    if recipe.teacher.choose_by == "pilots" and not recipe.student.hears_teacher:
        yield (
            "`teacher.choose_by: pilots` compares what the student learns from each teacher, and with `student.alpha: "
            "0` and no layers to match it learns nothing from any: choose by `taught`, or give `alpha` above 0"
        )


def _without_labels(recipe: Recipe) -> Iterator[str]:
    """Of a start without labels: what is proven needs some that people gave."""
    if recipe.teacher.zero_shot is None:
        return
    for key in ("validation", "test"):
        if getattr(recipe.data, key) is None:
            yield (
                f"`teacher.zero_shot` labels the training texts, and nothing is proven on such labels: give "
                f"`data.{key}`, a few hundred rows that people labelled"
            )
    if recipe.data.more is not None:
        yield "`data.more` has labels, and with `teacher.zero_shot` none are learned: leave out one of them"
    if recipe.student.searches:
        yield (
            "a goal (keep, max_latency_ms, max_mb) is judged on rows of train, which have no labels with "
            "`teacher.zero_shot`: give the student a size or shape"
        )
