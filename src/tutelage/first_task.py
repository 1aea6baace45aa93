"""A related task that the teacher learns before its own.

Supplementary training on intermediate labelled data (STILTs, Phang et al. 2018, arXiv 1811.01088): the model learns the
first task with all its weights, its head is thrown away unless both tasks are the same, and the teacher is fine-tuned
from there. Data and model of the first task are artifacts of their own: a change of the final task leaves them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tutelage import storage
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.data.identity import fingerprint_sources
from tutelage.data.prepare import prepare
from tutelage.encoding import Reading
from tutelage.errors import DataError
from tutelage.folder import RunFolder
from tutelage.progress import Logged, Progress
from tutelage.recipe import Recipe, StudentRecipe
from tutelage.recipe_data import DataRecipe
from tutelage.recipe_teacher import FirstRecipe, TeacherRecipe
from tutelage.tasks import Task
from tutelage.teacher import fine_tune, load

# Of the teacher's settings what its head reads, and those of every training; what is done with labels is for its own.
_SHARED = ("reads", "batch_size", "weight_decay", "warmup", "patience", "dropout", "clip", "precision", "on_nan")
_KEY = "teacher.first"


@dataclass(frozen=True)
class Learned:
    """A model that knows the first task."""

    name: str
    """Changes with whatever it was made from, and with nothing of the final task."""
    place: Path
    choice: dict[str, Any]


def corpus_of(
    recipe: Recipe,
    first: FirstRecipe,
    final: Corpus,
    folder: Path,
    progress: Progress,
    *,
    left_at: Path | None = None,
) -> Corpus:
    """The rows of the first task, without any text that the final one is judged on. Raises `DataError`."""
    with _called():
        alone, apart = _alone(recipe, first), _judged(final)
        return prepare(alone, folder, progress, left_at=left_at, apart=apart, tested=False, key=_KEY)


def settings_of(teacher: TeacherRecipe, first: FirstRecipe) -> TeacherRecipe:
    """How the first task is learned: by all weights, with what the teacher asks of every training."""
    shared = {key: getattr(teacher, key) for key in (*_SHARED, "checkpoint_minutes")}
    return TeacherRecipe(epochs=first.epochs, learning_rate=first.learning_rate, **shared)


def same(first: Task, final: Task) -> bool:
    """Whether two tasks are the very same, so that a head of one knows the other."""
    return first.to_dict() == final.to_dict()


@dataclass(frozen=True)
class FirstTask:
    """Where models learn it."""

    recipe: Recipe
    first: FirstRecipe
    folder: RunFolder
    final: Corpus
    reading: Reading
    progress: Logged

    @cached_property
    def corpus(self) -> Corpus:
        """Its rows, prepared or found."""
        place = self.folder.first / "corpus"
        with _called():
            sources = fingerprint_sources(_alone(self.recipe, self.first))
        name = storage.fingerprint_of(sources, _judged(self.final).tobytes().hex())
        if self.folder.done("first data", name, place) is None:
            started = time.monotonic()
            corpus_of(self.recipe, self.first, self.final, place, self.progress)
            self.folder.finish("first data", name, started=started)
        corpus = Corpus.load(place)
        for warning in corpus.health["warnings"]:
            self.progress.warn(f"The first task: {warning}")
        return corpus

    @property
    def same(self) -> bool:
        """Whether the final task is the very same, so that the head can stay."""
        return same(self.corpus.task, self.final.task)

    def name(self, model: str) -> str:
        """What names a model that learned it."""
        settings = settings_of(self.recipe.teacher, self.first).identity()
        return storage.fingerprint_of(
            "first", self.corpus.fingerprint, settings, load.identity(model), vars(self.reading), self.recipe.seed
        )

    def learn(self, model: str, stage: str) -> Learned:
        """A model that knows it, trained or found; one that knows it already is used as it is."""
        corpus, name, place = self.corpus, self.name(model), self.folder.first / stage.replace(" ", "-")
        stage = f"first task of {stage}"
        kept = self.folder.done(stage, name, place)
        if kept is None:
            started = time.monotonic()
            network, fitted = load.load(model, corpus.task, self.reading, seed=self.recipe.seed)
            history = fine_tune.fine_tune(
                network,
                corpus,
                settings_of(self.recipe.teacher, self.first),
                fitted=fitted,
                seed=self.recipe.seed,
                folder=self.folder.training / stage,
                progress=self.progress,
                title="Teaching the first task",
            )
            network.save(place)
            choice = _choice(network, corpus, history)
            kept = self.folder.finish(stage, name, started=started, history=history, choice=choice)
        return Learned(name, place, kept["choice"])


def _choice(network: Network, corpus: Corpus, history: list[dict[str, float]]) -> dict[str, Any]:
    metric, rows = network.task.headline, len(corpus["train"])
    scores = [epoch["score"] for epoch in history if "score" in epoch]
    why = f"{rows:,} rows, {len(history)} epochs" if history else "the model knew it already"
    if scores:
        best = max(scores) if metric.higher_is_better else -max(scores)
        why += f"; {metric.title.lower()} {best:.4f} on its own validation"
    return {"what": "first task", "taken": "learned before the task", "why": why, "figures": {"rows": rows}}


def _alone(recipe: Recipe, first: FirstRecipe) -> Recipe:
    """The recipe as if the first task were the only one: texts are read in the same way."""
    own = recipe.data
    data = DataRecipe(
        train=first.train,
        validation=first.validation,
        text=first.text,
        label=first.label,
        **{key: getattr(own, key) for key in ("validation_share", "encoding", "normalise", "deduplicate")},
        **{key: getattr(own, key) for key in ("max_bad_rows", "max_characters", "max_tokens", "long_text")},
    )
    return recipe.model_copy(
        update={"task": first.task or recipe.task, "data": data, "student": StudentRecipe(), "teacher": TeacherRecipe()}
    )


def _judged(final: Corpus) -> np.ndarray[Any, np.dtype[np.void]]:
    """Keys of all texts that the final task is judged on (N,), sorted."""
    splits = [split for name, split in final.splits.items() if name in ("validation", "judge", "test")]
    return np.unique(np.concatenate([split.keys for split in (*splits, *final.others.values())]))


@contextmanager
def _called() -> Iterator[None]:
    """Say of whatever is wrong that it is the first task's."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{_KEY}: {error.given}", expected=error.expected, cure=error.cure) from error
