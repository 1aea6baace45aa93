"""What a recipe asks of a task or of its texts that they cannot give, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tutelage import assistant, rewording, sizes
from tutelage.artifacts.corpus import ALSO, MORE, Corpus
from tutelage.artifacts.network import Network
from tutelage.augment import copies
from tutelage.compress import export, vocabulary
from tutelage.errors import ExportError, ModelError, RecipeError
from tutelage.recipe import Recipe, StudentRecipe
from tutelage.recipe_data import OtherRecipe
from tutelage.student import (
    build,
    curriculum,
    distil,
    growth,
    initialise,
    ladder,
    losses,
    matching,
    usefulness,
    weighting,
)
from tutelage.student.build import Shape
from tutelage.tasks import Task
from tutelage.teacher import strategies
from tutelage.training import regular, until

_MOST_NUMBERS = 50_000_000
# What came of writing a layer of each architecture, in this process: it takes seconds.
_ATTEMPTED: dict[str, ExportError | None] = {}


def unfit(recipe: Recipe, task: Task | type[Task]) -> None:
    """Raise `RecipeError` with all that does not fit; of a task that is not bound yet less is known."""
    looks: list[Callable[[], object]] = [
        lambda: losses.choose(recipe.student.loss, task),
        lambda: weighting.refuse_unfit(recipe.student, task),
        lambda: curriculum.refuse_unfit(recipe.student, task),
        lambda: usefulness.refuse_unfit(recipe.student, task),
        lambda: copies.refuse_unfit(recipe.student.augment, recipe.teacher.augment, task),
        lambda: regular.refuse_unfit(recipe.teacher, task),
        lambda: strategies.refuse_unfit(recipe.teacher, task),
        # What a task measures is known when its labels are.
        lambda: until.goal(recipe.teacher.until, task) if isinstance(task, Task) else None,
    ]
    problems = _label_maps(recipe, task)
    if recipe.teacher.zero_shot is not None and task.outputs != "scores":
        problems.append(f"teacher.zero_shot: it asks which class a text is of, and {task.name} has values")
    for look in looks:
        try:
            look()
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError("the recipe", problems)


def _label_maps(recipe: Recipe, task: Task | type[Task]) -> list[str]:
    """What of the labels that others' are mapped to can be no label of the task."""
    problems = []
    data = recipe.data
    others: dict[str, OtherRecipe] = {f"{MORE}{number}": other for number, other in enumerate(data.more or [])}
    others |= {f"{ALSO}{number}": other for number, other in enumerate(data.also_test or [])}
    for key, other in others.items():
        for theirs, ours in (other.labels or {}).items():
            try:
                if ours is not None:
                    task.parse(ours)
            except ValueError as error:
                problems.append(f"data.{key}.labels.{theirs}: {error}")
    return problems


def impossible(recipe: Recipe, teacher: Network, corpus: Corpus) -> None:
    """Raise an error when what the recipe asks for cannot be made from a teacher, before that one is trained.

    The teacher has the layers that it will have: one that is to read the mean of all tokens has it already.
    """
    _exportable(shape(recipe, teacher.model), recipe.student, teacher)
    other_tokens(recipe.student, teacher, corpus)
    rewording.refuse_unfit(recipe)


def _exportable(student: Shape, settings: StudentRecipe, teacher: Network) -> None:
    """Raise `ModelError` when the student would be of an architecture that torch cannot write as a graph.

    In a search, others are there to be taken.
    """
    config = teacher.model.config
    if settings.searches or student.width != int(config.hidden_size) or export.known(config.model_type):
        return
    # The table of all tokens is written too, and read back.
    if int(config.vocab_size) * student.width > _MOST_NUMBERS:
        return
    if config.model_type not in _ATTEMPTED:
        layer = replace(student, layers=1, kernel=0, static=False)
        kept = range(int(config.vocab_size))
        try:
            export.attempt(initialise.create(teacher, layer, tokenizer=teacher.tokenizer, kept=kept, seed=0))
            _ATTEMPTED[config.model_type] = None
        except ExportError as error:
            _ATTEMPTED[config.model_type] = error
    if problem := _ATTEMPTED[config.model_type]:
        raise ModelError(problem.given, expected=problem.expected, cure=problem.cure)


def shape(recipe: Recipe, teacher: Any) -> Shape:
    """The student's shape next to a teacher's model, where the recipe names one.

    Raises `ModelError` when the student, or another that is to be made with it, cannot be.
    """
    settings = recipe.student
    found = build.choose(settings, teacher.config)
    build.check_convolution(found, teacher)
    if not settings.searches:
        build.check_coded(settings, found, teacher.config)
    matching.check(settings, found, teacher)
    growth.check(settings, found, teacher)
    ladder.check(settings, teacher)
    between = assistant.check(settings, teacher)
    sizes.check(recipe, found, teacher, between)
    return found


def other_tokens(settings: StudentRecipe, teacher: Network, corpus: Corpus) -> None:
    """Raise an error when tokens are to be matched one by one, and a small vocabulary makes others of the texts.

    `ModelError` says of how many; what becomes of copies cannot be known before there is a teacher: `RecipeError`.
    """
    if not settings.follows_tokens or settings.vocabulary == "keep" or settings.vocabulary_size == "auto":
        return
    if settings.augment is not None:
        raise RecipeError(
            "the recipe",
            [
                "student.augment: copies hold words that a small vocabulary cuts up, and tokens are to be matched one "
                "by one; leave out `student.vocabulary_size`"
            ],
        )
    student = replace(teacher, tokenizer=vocabulary.of_corpus(teacher, corpus, settings).tokenizer)
    for name in ("train", "unlabelled"):
        if name not in corpus.splits:
            continue
        texts = corpus[name].texts()
        theirs = teacher.splits(teacher.tokenize(texts))
        distil.refuse_other_tokens(student, student.tokenize(texts), theirs, texts)
