"""Looking before running: is the recipe sound, is the data healthy, what will the run cost? Nothing is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tutelage import assistant, first_task, forecast, labelling, portion, refuse
from tutelage import recipe as recipes
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.artifacts.tokens import Tokens
from tutelage.compress import vocabulary
from tutelage.data.health import describe
from tutelage.data.prepare import prepare
from tutelage.encoding import reading
from tutelage.evaluate import machine
from tutelage.folder import RunFolder
from tutelage.progress import Progress, Silent
from tutelage.recipe import Recipe
from tutelage.student import build, growth, initialise, ladder, matching
from tutelage.student.build import Shape
from tutelage.tasks import TASKS
from tutelage.teacher import fine_tune, load, strategies

_MANY_UNKNOWN = 0.05


def check(source: str | Path | Mapping[str, Any], *, progress: Progress | None = None) -> list[str]:
    """Validate a recipe and its data and estimate what the run costs on this machine, as lines of text.

    The estimate comes from a few real training steps of the real models on the real texts. Raises the errors that the
    run would raise.
    """
    shown = progress or Silent()
    recipe = recipes.load(source)
    refuse.unfit(recipe, TASKS[recipe.task])
    if problem := machine.too_many(recipe.threads):
        shown.warn(problem)
    RunFolder(Path(recipe.output)).refuse_others(recipe, resume=True)
    with _quarantined() as (folder, left_at), machine.working_on(recipe.threads):
        corpus = prepare(recipe, folder / "corpus", shown, left_at=left_at)
        refuse.unfit(recipe, corpus.task)
        before = 0.0
        if (asked := recipe.teacher.zero_shot) is not None:
            corpus, before = labelling.tried(recipe, asked, corpus, folder / "entailed")
        first = None
        if recipe.teacher.first is not None:
            first = first_task.corpus_of(recipe, recipe.teacher.first, corpus, folder / "first", shown, left_at=left_at)
        read = reading(recipe.data.max_tokens, recipe.data.long_text)
        # Of several teachers the first is tried last, and stands for all.
        for model in reversed(recipe.teacher.models or [recipe.teacher.model]):
            settings, choice = recipe.teacher.model_copy(update={"model": model}), None
            teacher, fitted = load.load(model, corpus.task, read)
            trains = fine_tune.trains(teacher, settings, fitted=fitted) or first is not None
            # A first task leaves a head of its own.
            fitted = fitted if first is None else first_task.same(first.task, corpus.task)
            if trains:
                if first is None and (problem := fine_tune.told(settings, corpus.task, fitted=fitted)):
                    shown.warn(problem)
                strategies.refuse_impossible(teacher.model, settings)
                free = psutil.virtual_memory().available
                targets = corpus["train"].targets
                settings, choice = strategies.settled(teacher, settings, targets, free=free, fitted=fitted)
                # Students are made from the layers that it will have.
                strategies.expect(teacher.model, settings, fitted=fitted)
            refuse.impossible(recipe, teacher, corpus)
        recipe = recipe.model_copy(update={"teacher": settings})
        with shown.bar("Trying a few steps", 2) as bar:
            tokens = teacher.tokenize(corpus["train"].texts())
            _warn_of_unknown(tokens, teacher, shown)
            seconds = {"labels": before, "first task": forecast.first_seconds(recipe, first, teacher) if first else 0.0}
            with _ready(teacher, recipe, corpus, fitted=fitted, trains=trains):
                costs = [forecast.cost(teacher, tokens, recipe.teacher)]
            bar.advance()
            # Adapters have widened it.
            shape, between = refuse.shape(recipe, teacher.model), assistant.check(recipe.student, teacher.model)
            student, kept = _student(corpus, teacher, shape, recipe)
            costs.append(forecast.cost(student, tokens_of(student, corpus), recipe.student))
            if between is not None:
                student, _ = _student(corpus, teacher, between, recipe)
                costs.append(forecast.cost(student, tokens_of(student, corpus), recipe.student))
            rungs = _rungs(recipe, corpus, teacher) if trains else None
            bar.advance()
        lines = [f"{recipe.task}: the recipe is sound.", "", *describe(corpus.health), ""]
        if first is not None:
            lines += ["the first task:", *describe(first.health), ""]
        lines += [
            f"teacher: {teacher.describe('fp32')}, {'fine-tuned' if trains else 'used as it is'}",
            *([f"strategy: {choice['taken']}, for {choice['why']}"] if choice else []),
            _shape_line(recipe, shape, kept),
            "",
            *forecast.told(
                recipe,
                corpus,
                tokens,
                costs,
                trains=trains,
                a_token=forecast.recorded(recipe, shape, teacher),
                before=seconds,
                steps=len(growth.steps(recipe.student, shape.layers)),
                rungs=rungs,
            ),
        ]
    return lines


def _shape_line(recipe: Recipe, shape: Shape, tokens: int) -> str:
    if recipe.student.searches:
        times = f"{recipe.student.search_time:g} times the teacher's training"
        return f"student: searched for the goal, for about {times}; below, one of middle size"
    return f"student: {shape.describe()}, {tokens:,} tokens"


def _ready(
    teacher: Network, recipe: Recipe, corpus: Corpus, *, fitted: bool, trains: bool
) -> AbstractContextManager[object]:
    """The teacher as it will be trained, if it will; what its strategy adds says nothing yet and vanishes again."""
    if not trains:
        return nullcontext()
    targets = corpus["train"].targets
    return strategies.applied(teacher, recipe.teacher, targets=targets, seed=recipe.seed, fitted=fitted)


def tokens_of(network: Network, corpus: Corpus) -> Tokens:
    """The training texts as a network reads them."""
    return network.tokenize(corpus["train"].texts())


def _student(corpus: Corpus, teacher: Network, shape: Shape, recipe: Recipe) -> tuple[Network, int]:
    words = vocabulary.choose(teacher.tokenizer, lambda: [tokens_of(teacher, corpus)], recipe.student)
    student = initialise.create(teacher, shape, tokenizer=words.tokenizer, kept=words.kept, seed=recipe.seed)
    student.model.get_input_embeddings().weight.requires_grad_(False)
    return student, len(words.kept)


def _rungs(recipe: Recipe, corpus: Corpus, teacher: Network) -> forecast.Rungs | None:
    """What the students of a search take to learn, where it may read a part of the unlabelled texts only."""
    asked = recipe.student
    if not asked.searches or "unlabelled" not in corpus.splits or asked.select or asked.augment:
        return None
    texts = [text for split in corpus.read for text in split.texts()]
    first = {rung.name for rung in portion.cheapest(asked, teacher)}
    full, seconds = build.shape_of(teacher.model.config), {}
    for rung in ladder.rungs(asked, teacher.model.config):
        # Of those that learn; `narrow` only in place of one that is too large.
        if rung.trains and (rung.name in first or rung.name != "narrow"):
            settings = ladder.settings_for(rung, asked.training())
            student, _ = _student(corpus, teacher, rung.shape, recipe)
            every = matching.plan(settings, rung.shape, full).everywhere
            seconds[rung.name] = ladder.seconds_a_text(student, texts, settings, every=every)
    return (
        forecast.Rungs([seconds[name] for name in seconds if name in first], [*seconds.values()]) if seconds else None
    )


@contextmanager
def _quarantined() -> Iterator[tuple[Path, Path]]:
    """A folder that vanishes, and a place outside it where a list of bad rows can still be read afterwards."""
    with tempfile.TemporaryDirectory(prefix="tutelage-") as name:
        # A folder that nobody else may read, for it may hold their texts.
        left = Path(tempfile.mkdtemp(prefix="tutelage-check-"))
        try:
            yield Path(name), left / "quarantine.jsonl"
        finally:
            with suppress(OSError):
                left.rmdir()  # but for that list


def _warn_of_unknown(tokens: Tokens, teacher: Network, shown: Progress) -> None:
    """Say so where many tokens, special ones aside, stand for what the teacher's tokenizer does not know."""
    unknown = teacher.tokenizer.unk_token_id
    special = [one for one in teacher.tokenizer.all_special_ids if one != unknown]
    words = tokens.flat[~np.isin(tokens.flat, special)]
    share = float((words == unknown).mean()) if unknown is not None and len(words) else 0.0
    if share > _MANY_UNKNOWN:
        shown.warn(
            f"{share:.0%} of the tokens of train are unknown to the teacher: take a model of this language and script"
        )
