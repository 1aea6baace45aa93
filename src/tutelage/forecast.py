"""What a run will cost on this machine: a few real steps of the real models, times what its recipe asks for."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from tutelage import assistant, budget, first_task, pilots
from tutelage.artifacts.batch import plan
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network, forward
from tutelage.artifacts.tokens import Tokens
from tutelage.progress import Silent
from tutelage.recipe import Recipe
from tutelage.recipe_training import TrainingRecipe
from tutelage.student import build, matching, stages
from tutelage.student.build import Shape
from tutelage.teacher import strategies
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
    """Of one token: seconds in training, in reading, and in reading while it is recorded. `size`: bytes of weights."""

    training: float
    reading: float
    recording: float
    size: int
    kept: int = 0
    """Bytes of its hidden state, where frozen layers read it once and training goes on from there; else 0."""


@dataclass(frozen=True)
class Rungs:
    """Seconds that students of a search learn from a text, all epochs together."""

    first: list[float]
    """Of those that it tries first."""
    every: list[float]
    """Of all that learn."""

    def share(self, allowed: float, labelled: int, more: int) -> float:
        """Of the unlabelled texts, what the search has time for."""
        return budget.share_in(allowed, self.first, labelled=labelled, more=more)

    def once_more(self, texts: int) -> tuple[float, float]:
        """What learning from all texts takes: the cheapest alone, and all of them, in seconds."""
        each = [budget.seconds_for(texts, one) for one in self.every]
        return min(each), sum(each)


def cost(network: Network, tokens: Tokens, settings: TrainingRecipe) -> Cost:
    """Of a token of some texts, from a few steps; the network is of no use afterwards."""
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
            with precision(settings.precision, network.model):
                outputs, _ = forward(network.model, network.collate(given, rows))
            torch.autograd.backward(outputs.square().mean())
            optimizer.step()
            optimizer.zero_grad()

    count = int(some.lengths.sum())
    reading = _fastest(read) / count
    with precision(settings.precision, network.model):
        recording = _fastest(read) / count
    with (
        tempfile.TemporaryDirectory(prefix="tutelage-") as name,
        _kept(network, some, Path(name), settings) as kept,
    ):
        training = regular.cost(settings) * _fastest(lambda: learn(kept[0] if kept else some)) / count
    width = int(network.model.config.hidden_size)
    return Cost(training, reading, recording, 4 * network.parameters, 4 * width if kept else 0)


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


def told(
    recipe: Recipe,
    corpus: Corpus,
    tokens: Tokens,
    costs: list[Cost],
    *,
    trains: bool,
    a_token: int,
    before: dict[str, float],
    steps: int,
    rungs: Rungs | None,
) -> list[str]:
    """Time, disk and memory in words.

    `costs` are of the teacher, of the student and of what stands between them, in this order;
    `tokens` are the training texts as the teacher reads them, `a_token` bytes recorded of each, `before` the seconds of
    what comes before the teacher, `steps` how often a student grows, and `rungs` those of a search that may read
    a part of the unlabelled texts.
    """
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
        "pilots": _pilots(
            recipe,
            speaking,
            drawn + rows.get("unlabelled", 0),
            per_row * (student.training + teacher.recording),
            3 * rows["validation"] * per_row * student.reading,
        ),
        "comparing teachers": speaking * read * teacher.recording * (speaking > 1 and recipe.teacher.combine == "best"),
        "signals": (read + unlabelled) * teacher.recording * (speaking if recipe.teacher.combine == "all" else 1),
        "assistant": sum(_assistant(recipe, one, labelled, read, unlabelled) for one in between),
        "student": settings.epochs * (labelled + unlabelled) * student.training,
        "control": settings.epochs * labelled * student.training if settings.control else 0.0,
        "evaluation": _EVALUATION + judged * (teacher.reading + 2 * student.reading),
    }
    again = seconds["student"] + seconds["control"] + _DEPLOYING
    seconds["other seeds"] = (recipe.evaluate.seeds - 1) * again
    # Half the student and twice, and what the teacher says of other layers is recorded in the same pass.
    seconds["neighbours"] = (2.5 * seconds["student"] + 2 * _DEPLOYING) if recipe.evaluate.neighbours else 0.0
    spans = {name: (value, value) for name, value in seconds.items() if value}
    search = []
    if recipe.student.searches:
        untrained = 3 * read * teacher.recording
        # Of several teachers the one that is taken counts, and comparing them.
        teaching = seconds["teacher"] / several + seconds["comparing teachers"]
        allowed = settings.search_time * max(teaching, untrained)
        unread = rows.get("unlabelled", 0)
        share = 1.0 if rungs is None else rungs.share(allowed, rows["train"], unread)
        if rungs is not None and share < 1.0:
            spans["student"] = (allowed, allowed)
            spans["once more from all texts"] = rungs.once_more(rows["train"] + unread)
            search.append(
                f"unlabelled texts: the search has time for about {round(share * unread):,} of {unread:,}; then the "
                "students that may reach the goal learn once more, from all of them, beyond `student.search_time`: "
                "the cheapest alone, or all in turn"
            )
        else:
            spans["student"] = (max(seconds["student"], allowed),) * 2
    parts = ", ".join(f"{name} {_span(*span)}" for name, span in spans.items())
    least, most = (sum(ends) for ends in zip(*spans.values(), strict=True))
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
        f"time: about {_span(least, most)} ({parts}); early stopping may end sooner",
        *search,
        f"disk: at most {disk / 1e9:.2g} GB on the way ({free / 1e9:.3g} GB free)",
        f"memory: about {memory / 1e9:.2g} GB ({psutil.virtual_memory().available / 1e9:.3g} GB available)",
    ]
    if disk > free:
        lines.append("warning: the disk has too little room")
    return lines


def _assistant(recipe: Recipe, cost: Cost, labelled: float, read: float, unlabelled: float) -> float:
    """What training an assistant takes, and recording what it says, in seconds."""
    epochs = stages.together(assistant.settings_of(recipe.student)).epochs
    return epochs * (labelled + unlabelled) * cost.training + (read + unlabelled) * cost.recording


def _pilots(recipe: Recipe, teachers: int, texts: int, a_text: float, judging: float) -> float:
    """What trying the student under each teacher takes, in seconds.

    `a_text` is to read and to learn from one, `judging` what comes after each trial.
    """
    if recipe.teacher.choose_by != "pilots":
        return 0.0
    return sum(several * (read * a_text + judging) for several, read in pilots.rounds(teachers, texts))


def first_seconds(recipe: Recipe, first: Corpus, teacher: Network) -> float:
    """What learning the first task takes, from a few of its steps, in seconds."""
    assert recipe.teacher.first is not None
    settings = first_task.settings_of(recipe.teacher, recipe.teacher.first)
    tokens = teacher.tokenize(first["train"].texts())
    return settings.epochs * float(tokens.lengths.sum()) * cost(teacher, tokens, settings).training


def recorded(recipe: Recipe, shape: Shape, teacher: Network) -> int:
    """Bytes that are kept of every token that the teacher reads."""
    full = build.shape_of(teacher.model.config)
    wanted = matching.plan(recipe.student, shape, full).recording(1, full.width)
    return 2 * len(wanted.channels) * wanted.token_width


def _span(least: float, most: float) -> str:
    begins, ends = _duration(least), _duration(most)
    return begins if begins == ends else f"{begins} to {ends}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())
