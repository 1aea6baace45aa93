"""Making the teacher, or several, and choosing the one that teaches most.

The best model is not always the best teacher (a 3-layer student learned more from a weaker one, arXiv 2012.06048).
Each candidate teaches a linear model, which takes seconds; the one whose lesson leaves the lowest validation loss is
taken. Its own loss and score are shown beside it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tutelage import rewording, storage
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording
from tutelage.encoding import Reading
from tutelage.first_task import FirstTask
from tutelage.folder import CHOOSING, RunFolder
from tutelage.progress import Logged, Silent
from tutelage.recipe import Recipe, StudentRecipe
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.student import balance, distil
from tutelage.student.linear import Array
from tutelage.teacher import fine_tune, load, strategies
from tutelage.teacher import signals as recording
from tutelage.training import supervised, until


@dataclass(frozen=True)
class Candidate:
    """A teacher that may be taken, judged on N validation rows."""

    model: str
    taught: Array
    """Label losses of a linear model that it taught (N,)."""
    own: Array
    """Its own label losses, calibrated (N,)."""
    score: float
    """Its own headline score."""


@dataclass(frozen=True)
class School:
    """Where teachers are made."""

    recipe: Recipe
    folder: RunFolder
    corpus: Corpus
    reading: Reading
    progress: Logged
    check: Callable[[Network], object]
    """Raises when the student cannot be made from a teacher."""

    def teacher(self) -> tuple[str, Network]:
        """Its fingerprint, which changes with whatever it was made from, and the teacher."""
        settings, place = self.recipe.teacher, self.folder.teacher
        if self._first is not None:
            # Whatever is wrong with its rows is said before anything is trained.
            _ = self._first.corpus
        if settings.models is None:
            name = self._made(settings, "teacher", place)
        else:
            name = self._best([settings.model_copy(update={"model": m, "models": None}) for m in settings.models])
        return name, self._load(place)

    def _load(self, place: Path) -> Network:
        return Network.load(place, self.corpus.task, self.reading)

    def _made(self, settings: TeacherRecipe, stage: str, place: Path) -> str:
        """One teacher, made or found; returns its fingerprint."""
        settings = self._settled(settings, stage)
        name = self._fingerprint(settings)
        kept = self.folder.done(stage, name, place)
        if kept is None:
            network, fitted, choices = self._ready(settings, stage)
            corpus = self.corpus
            if settings.augment is not None and (settings.first or fine_tune.trains(network, settings, fitted=fitted)):
                copies = rewording.Rewording(self.recipe, self.folder, corpus, self.progress)
                corpus, choice = copies.enlarged(network, settings.augment, stage, name)
                choices.append(choice)
            started = time.monotonic()
            history = fine_tune.fine_tune(
                network,
                corpus,
                # After a first task it always learns its own, whatever the model knew before.
                settings.model_copy(update={"first": None, "fine_tune": True}) if settings.first else settings,
                fitted=fitted,
                seed=self.recipe.seed,
                folder=self.folder.training / stage,
                progress=self.progress,
            )
            network.save(place)
            told = until.told(until.goal(settings.until, self.corpus.task), history, epochs=settings.epochs)
            choices += told.pop("choices", [])
            kept = self.folder.finish(stage, name, started=started, history=history, choices=choices, **told)
        for warning in kept.get("warnings", []):
            self.progress.warn(warning)
        return name

    def _settled(self, settings: TeacherRecipe, stage: str) -> TeacherRecipe:
        """With a strategy in place of `auto`. Chosen once: another time there may be less memory free."""
        choosing = f"{CHOOSING}{stage}"
        kept: dict[str, Any] = {"taken": None, "reads": None, "choices": []}
        if settings.strategy == "auto":
            name = self._fingerprint(settings)
            found = self.folder.done(choosing, name)
            if found is None:
                started = time.monotonic()
                network, fitted = self._start(settings)
                if fine_tune.trains(network, settings, fitted=fitted):
                    targets, free = self.corpus["train"].targets, psutil.virtual_memory().available
                    taken, choice = strategies.settled(network, settings, targets, free=free, fitted=fitted)
                    kept = {"taken": taken.strategy, "reads": taken.reads, "choices": [choice]}
                found = self.folder.finish(choosing, name, started=started, **kept)
            for choice in found["choices"]:
                self.progress.say(f"Strategy of the teacher: {choice['taken']}, for {choice['why']}.")
            return settings.taking(found["taken"] or "full", found.get("reads") or settings.reads)
        self._forget(choosing)
        return settings

    def _forget(self, choosing: str) -> None:
        """What was chosen for another recipe in the same folder is not told of this one."""
        if self.folder.kept(choosing):
            self.folder.finish(choosing, "given", started=time.monotonic(), choices=[])

    def _fingerprint(self, settings: TeacherRecipe) -> str:
        place = load.identity(settings.model)
        # Without a first task or copies it has the name that it had before there were any.
        more: list[Any] = [self._first.name(settings.model)] if self._first else []
        more += [rewording.identity(settings.augment)] if settings.augment else []
        return storage.fingerprint_of(
            self.corpus.fingerprint,
            settings.identity(),
            place,
            vars(self.reading),
            self.recipe.seed,
            *more,
        )

    @cached_property
    def _first(self) -> FirstTask | None:
        given = self.recipe.teacher.first
        if given is None:
            return None
        return FirstTask(self.recipe, given, self.folder, self.corpus, self.reading, self.progress)

    def _ready(self, settings: TeacherRecipe, stage: str) -> tuple[Network, bool, list[dict[str, Any]]]:
        """The model that is to become a teacher, whether its head knows the labels, and what was decided for it."""
        network, fitted = self._start(settings)
        if self._first is None:
            return network, fitted, []
        del network
        known = self._first.learn(settings.model, stage)
        task = self.corpus.task
        network, fitted = load.load(
            str(known.place), task, self.reading, seed=self.recipe.seed, new_head=not known.same(task)
        )
        return network, fitted, [known.choice]

    def _start(self, settings: TeacherRecipe) -> tuple[Network, bool]:
        network, fitted = load.load(settings.model, self.corpus.task, self.reading, seed=self.recipe.seed)
        self.check(network)
        if settings.first is not None or fine_tune.trains(network, settings, fitted=fitted):
            strategies.refuse_impossible(network.model, settings)
        return network, fitted

    def _best(self, several: list[TeacherRecipe]) -> str:
        """The teacher that teaches most, in the teacher's place; returns its fingerprint."""
        name = storage.fingerprint_of("best of", [self._fingerprint(settings) for settings in several])
        kept = self.folder.done("teacher", name, self.folder.teacher)
        if kept is None:
            self._forget(f"{CHOOSING}teacher")
            for settings in several:
                # What cannot be is said before the first is trained.
                self._start(settings)
            stages = [f"teacher {number}" for number in range(1, len(several) + 1)]
            places = [self.folder.teachers / str(number) for number in range(1, len(several) + 1)]
            for settings, stage, place in zip(several, stages, places, strict=True):
                self.progress.say(f"{stage}: {settings.model}")
                self._made(settings, stage, place)
            began = time.monotonic()
            with self.progress.bar("Comparing teachers", len(several)) as bar:
                candidates = []
                for settings, place in zip(several, places, strict=True):
                    candidates.append(self._judged(settings.model, self._load(place)))
                    bar.advance()
            best, choice = choose(candidates, self.corpus.task.headline.title)
            with storage.whole_folder(self.folder.teacher) as partial:
                shutil.copytree(places[best], partial, dirs_exist_ok=True)
            before = self.folder.kept(stages[best])
            chosen = self.folder.kept(f"{CHOOSING}{stages[best]}").get("choices", [])
            choices = [choice, *chosen, *before.pop("choices", [])]
            # A search goes by what making this teacher took.
            began -= self.folder.times()[stages[best]]
            kept = self.folder.finish("teacher", name, started=began, **before, choices=choices)
        return name

    def _judged(self, model: str, network: Network) -> Candidate:
        rows, validation = [self.corpus["train"]], self.corpus["validation"]
        wanted = Recording(network.task.width, ())
        told = recording.record(network, rows, wanted, folder=self.folder.signals, progress=Silent())
        transfer = distil.transfer_set(network, rows, told)
        alone = balance.ALONE
        taught = balance.screen(network, transfer, told, validation, StudentRecipe(), among=[alone], progress=Silent())
        outputs = network.outputs(network.tokenize(validation.texts())).astype(np.float64)
        own = supervised.calibrated(network, outputs, validation.targets)[1]
        score = network.task.headline.compute(network.task.predict(outputs), validation.targets)
        return Candidate(model, taught[alone.name], own, score)


def choose(candidates: list[Candidate], metric: str) -> tuple[int, dict[str, Any]]:
    """Which candidate teaches most, and why."""
    order = sorted(range(len(candidates)), key=lambda number: float(candidates[number].taught.mean()))
    best, second = candidates[order[0]], candidates[order[1]]
    gain, error = balance.better(best.taught, second.taught)
    told = [
        f"{one.model} {one.taught.mean():.4f} (itself {one.own.mean():.4f}, {metric.lower()} {one.score:.4f})"
        for one in candidates
    ]
    return order[0], {
        "what": "teacher",
        "taken": best.model,
        "why": f"validation loss of a linear model that each taught: {', '.join(told)}; {-gain:+.4f} ± {error:.4f} "
        f"against {second.model}",
        "figures": {
            "taught": [float(one.taught.mean()) for one in candidates],
            "own": [float(one.own.mean()) for one in candidates],
            "score": [one.score for one in candidates],
            "gain": gain,
            "standard_error": error,
        },
    }
