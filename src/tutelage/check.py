"""Looking before running: is the recipe sound, is the data healthy, what will the run cost? Nothing is kept."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from tutelage import assistant, first_task, labelling, refuse
from tutelage import recipe as recipes
from tutelage.artifacts.batch import plan
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network, forward
from tutelage.artifacts.tokens import Tokens
from tutelage.compress import vocabulary
from tutelage.data.health import describe
from tutelage.data.prepare import prepare
from tutelage.encoding import reading
from tutelage.folder import RunFolder
from tutelage.progress import Progress, Silent
from tutelage.recipe import Recipe
from tutelage.recipe_training import TrainingRecipe
from tutelage.student import build, growth, initialise, matching, stages
from tutelage.student.build import Shape
from tutelage.tasks import TASKS
from tutelage.teacher import fine_tune, load, strategies
from tutelage.training import regular
from tutelage.training.frozen import frozen_prefix
from tutelage.training.loop import set_dropout
from tutelage.training.precision import precision

_TRIED_BATCHES = 3
# Exports, answers, speed and memory, in seconds beside what the test rows take; measured on two cores.
_EVALUATION = 45.0
# Export, precision and cascade of one more student, in seconds.
_DEPLOYING = 8.0
# Copies of a model's weights that a training keeps on disk at its end: two checkpoints (weights, and two moments each)
# and the best weights.
_COPIES = 7


@dataclass(frozen=True)
class Cost:
    """Of one token: seconds in training and in reading. `size` is bytes of the weights."""

    training: float
    reading: float
    size: int
    kept: int = 0
    """Bytes of its hidden state, where frozen layers read it once and training goes on from there; else 0."""


def check(source: str | Path | Mapping[str, Any], *, progress: Progress | None = None) -> list[str]:
    """Validate a recipe and its data and estimate what the run costs on this machine, as lines of text.

    The estimate comes from a few real training steps of the real models on the real texts. Raises the errors that the
    run would raise.
    """
    shown = progress or Silent()
    recipe = recipes.load(source)
    refuse.unfit(recipe, TASKS[recipe.task])
    RunFolder(Path(recipe.output)).refuse_others(recipe, resume=True)
    with _quarantined() as (folder, left_at), _threads(recipe):
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
                strategies.refuse_impossible(teacher.model, settings)
                free = psutil.virtual_memory().available
                targets = corpus["train"].targets
                settings, choice = strategies.settled(teacher, settings, targets, free=free, fitted=fitted)
                # Students are made from the layers that it will have.
                strategies.average(teacher.model, settings, fitted=fitted)
            refuse.impossible(recipe, teacher, corpus)
        recipe = recipe.model_copy(update={"teacher": settings})
        with shown.bar("Trying a few steps", 2) as bar:
            tokens = teacher.tokenize(corpus["train"].texts())
            seconds = {"labels": before, "first task": _first_seconds(recipe, first, teacher) if first else 0.0}
            with _ready(teacher, recipe, corpus, fitted=fitted, trains=trains):
                costs = [_cost(teacher, tokens, recipe.teacher)]
            bar.advance()
            # Adapters have widened it.
            shape, between = refuse.shape(recipe, teacher.model), assistant.check(recipe.student, teacher.model)
            student, kept = _student(corpus, teacher, shape, recipe)
            costs.append(_cost(student, tokens_of(student, corpus), recipe.student))
            if between is not None:
                student, _ = _student(corpus, teacher, between, recipe)
                costs.append(_cost(student, tokens_of(student, corpus), recipe.student))
            bar.advance()
        lines = [f"{recipe.task}: the recipe is sound.", "", *describe(corpus.health), ""]
        if first is not None:
            lines += ["the first task:", *describe(first.health), ""]
        lines += [
            f"teacher: {teacher.describe('fp32')}, {'fine-tuned' if trains else 'used as it is'}",
            *([f"strategy: {choice['taken']}, for {choice['why']}"] if choice else []),
            _shape_line(recipe, shape, kept),
            "",
            *_estimate(
                recipe,
                corpus,
                tokens,
                costs,
                trains=trains,
                a_token=_recorded(recipe, shape, teacher),
                before=seconds,
                steps=len(growth.steps(recipe.student, shape.layers)),
            ),
        ]
    return lines


def _shape_line(recipe: Recipe, shape: Shape, tokens: int) -> str:
    if recipe.student.searches:
        times = f"{recipe.student.search_time:g} times the teacher's training"
        return f"student: searched for the goal, for about {times}; below, one of middle size"
    layers = "1 layer" if shape.layers == 1 else f"{shape.layers} layers"
    layers += " and one that averages" if shape.averages else ""
    return f"student: {layers} x {shape.width}, feed-forward {shape.feed_forward}, {tokens:,} tokens"


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


def _cost(network: Network, tokens: Tokens, settings: TrainingRecipe) -> Cost:
    batches = plan(tokens.lengths, batch_size=settings.batch_size, seed=0, epoch=0)[:_TRIED_BATCHES]
    some = tokens.take(np.concatenate(batches))
    starts = np.cumsum([0, *map(len, batches)])
    pieces = [np.arange(begin, end) for begin, end in itertools.pairwise(starts)]
    set_dropout(network.model, settings.dropout)

    def read() -> None:
        with torch.inference_mode():
            for rows in pieces:
                forward(network.model, network.collate(some, rows))

    trained = [parameter for parameter in network.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0, weight_decay=0.0, fused=True)

    def learn(given: Tokens) -> None:
        for rows in pieces:
            with precision(settings.precision):
                outputs, _ = forward(network.model, network.collate(given, rows))
            torch.autograd.backward(outputs.square().mean())
            optimizer.step()
            optimizer.zero_grad()

    count = int(some.lengths.sum())
    reading = _fastest(read) / count
    with (
        tempfile.TemporaryDirectory(prefix="tutelage-") as name,
        _kept(network, some, Path(name), settings) as kept,
    ):
        training = regular.cost(settings) * _fastest(lambda: learn(kept[0] if kept else some)) / count
    width = int(network.model.config.hidden_size)
    return Cost(training, reading, 4 * network.parameters, 4 * width if kept else 0)


def _kept(
    network: Network, some: Tokens, folder: Path, settings: TrainingRecipe
) -> AbstractContextManager[list[Tokens] | None]:
    """What frozen layers say of some texts, where a training would keep it."""
    if regular.moves_tokens(settings):
        return nullcontext()
    return frozen_prefix(network, [some], folder=folder, progress=Silent())


def _fastest(work: Callable[[], None]) -> float:
    times = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _estimate(
    recipe: Recipe,
    corpus: Corpus,
    tokens: Tokens,
    costs: list[Cost],
    *,
    trains: bool,
    a_token: int,
    before: dict[str, float],
    steps: int,
) -> list[str]:
    teacher, student, *between = costs
    settings = stages.together(recipe.student)
    per_row = float(np.mean(tokens.lengths))
    rows = {name: len(split) for name, split in corpus.splits.items()}
    several = len(recipe.teacher.models or [recipe.teacher.model])
    speaking = recipe.teacher.epochs if recipe.teacher.candidates else several
    # What an epoch draws, and every text once.
    drawn = corpus["train"].drawn
    changed = 1 + (recipe.teacher.augment.each if recipe.teacher.augment else 0)
    labelled, read = drawn * per_row, rows["train"] * per_row
    unlabelled = settings.more(rows["train"], rows.get("unlabelled", 0)) * per_row
    judged = (rows["validation"] + rows["test"] + sum(map(len, corpus.others.values()))) * per_row
    once = read * teacher.reading if teacher.kept else 0.0
    epoch = 0.0
    if trains:
        strategy = strategies.STRATEGIES[recipe.teacher.strategy]
        epoch = per_row * strategy.reads(drawn * changed, recipe.teacher.batch_size)
    seconds = {
        "labels": before["labels"],
        "first task": several * before["first task"],
        "teacher": several * (once + recipe.teacher.epochs * epoch * teacher.training),
        "signals": (read + unlabelled) * teacher.reading * (speaking if recipe.teacher.combine == "all" else 1),
        "assistant": sum(_assistant(recipe, one, labelled, read, unlabelled) for one in between),
        "student": settings.epochs * (labelled + unlabelled) * student.training,
        "control": settings.epochs * labelled * student.training if settings.control else 0.0,
        "evaluation": _EVALUATION + judged * (teacher.reading + 2 * student.reading),
    }
    again = seconds["student"] + seconds["control"] + _DEPLOYING
    seconds["other seeds"] = (recipe.evaluate.seeds - 1) * again
    # Half the student and twice, and what the teacher says of other layers is recorded in the same pass.
    seconds["neighbours"] = (2.5 * seconds["student"] + 2 * _DEPLOYING) if recipe.evaluate.neighbours else 0.0
    if recipe.student.searches:
        untrained = 3 * read * teacher.reading
        seconds["student"] = max(seconds["student"], settings.search_time * max(seconds["teacher"], untrained))
    parts = ", ".join(f"{name} {_duration(value)}" for name, value in seconds.items() if value)
    states = (read + rows["validation"] * per_row) * teacher.kept
    copies = _COPIES * steps + 3
    # Of every epoch, while they are compared: the weights, and the teacher that they make.
    epochs = 2 * recipe.teacher.epochs if recipe.teacher.candidates else 0
    disk = (
        (_COPIES + 2 + epochs) * teacher.size
        + copies * sum(one.size for one in costs[1:])
        + states
        + (read + unlabelled) * a_token
    )
    memory = psutil.Process().memory_info().rss + (2 * teacher.size if trains else 0)
    free = psutil.disk_usage(str(_existing(Path(recipe.output).absolute()))).free
    lines = [
        f"time: about {_duration(sum(seconds.values()))} ({parts}); early stopping may end sooner",
        f"disk: at most {disk / 1e9:.2g} GB on the way ({free / 1e9:.3g} GB free)",
        f"memory: about {memory / 1e9:.2g} GB ({psutil.virtual_memory().available / 1e9:.3g} GB available)",
    ]
    if disk > free:
        lines.append("warning: the disk has too little room")
    return lines


def _assistant(recipe: Recipe, cost: Cost, labelled: float, read: float, unlabelled: float) -> float:
    """What training an assistant takes, and recording what it says, in seconds."""
    epochs = stages.together(assistant.settings_of(recipe.student)).epochs
    return epochs * (labelled + unlabelled) * cost.training + (read + unlabelled) * cost.reading


def _first_seconds(recipe: Recipe, first: Corpus, teacher: Network) -> float:
    """What learning the first task takes, from a few of its steps, in seconds."""
    assert recipe.teacher.first is not None
    settings = first_task.settings_of(recipe.teacher, recipe.teacher.first)
    tokens = tokens_of(teacher, first)
    return settings.epochs * float(tokens.lengths.sum()) * _cost(teacher, tokens, settings).training


def _recorded(recipe: Recipe, shape: Shape, teacher: Network) -> int:
    """Bytes that are kept of every token that the teacher reads."""
    full = build.shape_of(teacher.model.config)
    wanted = matching.plan(recipe.student, shape, full).recording(1, full.width)
    return 2 * len(wanted.channels) * wanted.token_width


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


@contextmanager
def _quarantined() -> Iterator[tuple[Path, Path]]:
    """A folder that vanishes, and a place outside it where a list of bad rows can still be read afterwards."""
    with tempfile.TemporaryDirectory(prefix="tutelage-") as name:
        yield Path(name), Path(tempfile.gettempdir()) / "tutelage-quarantine.jsonl"


@contextmanager
def _threads(recipe: Recipe) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(recipe.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
