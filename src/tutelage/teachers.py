"""Making the teacher, or several, of which one is taken; which one, is found in `candidates`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from tutelage import candidates, pilots, rewording, storage
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.encoding import Reading
from tutelage.first_task import FirstTask
from tutelage.folder import CHOOSING, RunFolder
from tutelage.pilots import Pilot
from tutelage.progress import Logged, Silent
from tutelage.recipe import Recipe
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.student.linear import Array
from tutelage.teacher import fine_tune, load, strategies
from tutelage.teacher.strategies.base import History
from tutelage.training import until
from tutelage.training.epochs import Epochs


@dataclass(frozen=True)
class _Made:
    """A teacher that may be taken, and where it is."""

    title: str
    stage: str
    place: Path


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
        names = settings.models or [settings.model]
        if len(names) == 1 and settings.candidates is None:
            name = self._made(settings, "teacher", place)
        else:
            name = self._best([settings.model_copy(update={"model": one, "models": None}) for one in names])
        for warning in self.folder.kept("teacher").get("warnings", []):
            self.progress.warn(warning)
        return name, self._load(place)

    def _load(self, place: Path) -> Network:
        return Network.load(place, self.corpus.task, self.reading)

    def _made(self, settings: TeacherRecipe, stage: str, place: Path) -> str:
        """One teacher, made or found; returns its fingerprint."""
        settings = self._settled(settings, stage)
        name = self._fingerprint(settings)
        kept = self.folder.done(stage, name, place)
        if kept is None:
            network, history, choices, started = self._trained(settings, stage)
            network.save(place)
            self._finished(settings, stage, name, history, choices, started=started)
        return name

    def _trained(
        self, settings: TeacherRecipe, stage: str, epochs: Epochs | None = None, *, quiet: bool = False
    ) -> tuple[Network, History, list[dict[str, Any]], float]:
        """A network that was trained, what was noted of every epoch, what was decided for it, and when it began."""
        network, fitted, choices = self._ready(settings, stage)
        corpus = self.corpus
        if settings.augment is not None and (settings.first or fine_tune.trains(network, settings, fitted=fitted)):
            copies = rewording.Rewording(self.recipe, self.folder, corpus, self.progress)
            corpus, choice = copies.enlarged(network, settings.augment, stage, self._fingerprint(settings))
            choices.append(choice)
        started = time.monotonic()
        history = fine_tune.fine_tune(
            network,
            corpus,
            settings.alone(),
            fitted=fitted,
            seed=self.recipe.seed,
            folder=self.folder.training / stage,
            progress=Silent() if quiet else self.progress,
            epochs=epochs,
        )
        return network, history, choices, started

    def _finished(
        self,
        settings: TeacherRecipe,
        stage: str,
        name: str,
        history: History,
        choices: list[dict[str, Any]],
        *,
        started: float,
        **more: Any,
    ) -> dict[str, Any]:
        """Note that a teacher is made, and what became of the level that it was to reach."""
        told = until.told(until.goal(settings.until, self.corpus.task), history, epochs=settings.epochs)
        choices = [*choices, *told.pop("choices", [])]
        return self.folder.finish(stage, name, started=started, history=history, choices=choices, **told, **more)

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
        self.folder.forget(choosing)
        return settings

    def _fingerprint(self, settings: TeacherRecipe) -> str:
        place = load.identity(settings.model)
        # Without a first task or copies it has the name that it had before there were any.
        more: list[Any] = [self._first.name(settings.model)] if self._first else []
        more += [rewording.identity(settings.augment, key="teacher.augment")] if settings.augment else []
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
        place, new_head = str(known.place), not self._first.same
        network, fitted = load.load(place, self.corpus.task, self.reading, seed=self.recipe.seed, new_head=new_head)
        return network, fitted, [known.choice]

    def _start(self, settings: TeacherRecipe) -> tuple[Network, bool]:
        network, fitted = load.load(settings.model, self.corpus.task, self.reading, seed=self.recipe.seed)
        if settings.first is not None or fine_tune.trains(network, settings, fitted=fitted):
            strategies.refuse_impossible(network.model, settings)
            # Students are made from the layers that it will have.
            kept = fitted if self._first is None else self._first.same
            strategies.expect(network.model, settings, fitted=kept)
        self.check(network)
        return network, fitted

    def _best(self, several: list[TeacherRecipe]) -> str:
        """The teacher that teaches most, or the best of all that speak, in its place; returns its fingerprint."""
        settings = self.recipe.teacher
        together = settings.combine == "all"
        name = storage.fingerprint_of(*candidates.named(self.recipe), [self._fingerprint(one) for one in several])
        kept = self.folder.done("teacher", name, self.folder.teacher)
        # Those that speak together are read where they were made, and must still be the same there.
        if kept is not None and not (together and kept["seals"] != _seals(self._places(len(kept["names"])))):
            return name
        self.folder.forget(f"{CHOOSING}teacher")
        for one in several:
            # What cannot be is said before the first is trained.
            self._start(one)
        made = self._epochs(several[0]) if settings.candidates else self._each(several)
        trials = self._trials(made, name) if settings.choose_by == "pilots" and len(made) > 1 else None
        began = time.monotonic()
        with self.progress.bar("Comparing teachers", len(made)) as bar:
            known = []
            for number, each in enumerate(made):
                network = self._load(each.place)
                judged = candidates.judged(each.title, network, self.recipe, self.folder, self.corpus)
                known.append(replace(judged, pilot=trials[number]) if trials else judged)
                bar.advance()
        best, choice = candidates.choose(known, self.corpus.task.headline, settings.choose_by, together=together)
        storage.copy_folder(made[best].place, self.folder.teacher)
        stage = made[best].stage
        before = self.folder.kept(stage)
        chosen = self.folder.kept(f"{CHOOSING}{stage}").get("choices", [])
        choices = [choice, *chosen, *before.pop("choices", [])]
        names = [one.title for one in made]
        seals = _seals([one.place for one in made])
        more = {**before, "choices": choices, "names": names, "best": best, "seals": seals, "made_in": stage}
        self.folder.finish("teacher", name, started=began, **more)
        return name

    def _trials(self, made: Sequence[_Made], name: str) -> list[Pilot]:
        """How the student fares under each of several teachers."""
        trials, began = pilots.Trials(self.recipe, self.folder, self.corpus), time.monotonic()
        name = storage.fingerprint_of(name, _seals([one.place for one in made]))
        kept = self.folder.done(pilots.STAGE, name)
        if kept is not None:
            return [Pilot.of(one) for one in kept["pilots"]]
        total = sum(teachers * read for teachers, read in pilots.rounds(len(made), trials.texts))
        with self.progress.bar("Trying the student under each teacher", total) as bar:

            def trial(number: int, read: int) -> Array:
                loss = trials.loss(number, self._load(made[number].place), read)
                bar.advance(read)
                return loss

            found = pilots.halve(len(made), trials.texts, trial)
        for each, one in zip(made, found, strict=True):
            if one.failed:
                self.progress.warn(f"{each.title}: its student failed after {one.texts:,} texts: {one.failed}")
        self.folder.finish(pilots.STAGE, name, started=began, pilots=[one.as_dict() for one in found])
        return found

    def _places(self, count: int) -> list[Path]:
        return self.folder.candidates(count, epochs=self.recipe.teacher.candidates is not None)

    def _each(self, several: list[TeacherRecipe]) -> list[_Made]:
        """Each of several models as a teacher."""
        made = []
        for number, place in enumerate(self._places(len(several)), start=1):
            settings, stage = several[number - 1], f"teacher {number}"
            self.progress.say(f"{stage}: {settings.model}")
            self._made(settings, stage, place)
            made.append(_Made(settings.model, stage, place))
        return made

    def _epochs(self, settings: TeacherRecipe) -> list[_Made]:
        """One model as a teacher after every epoch; one that is not trained is all there is."""
        stage, name = "teacher epochs", storage.fingerprint_of("epochs", self._fingerprint(settings))
        kept = self.folder.done(stage, name)
        if kept is None or not all(place.exists() for place in self._places(len(kept["names"]))):
            self.folder.forget(stage)
            network, history, choices, started = self._trained(settings, stage, Epochs(self._kept(stage)))
            names = [f"{settings.model} after epoch {int(epoch['epoch'])}" for epoch in history] or [settings.model]
            for number, place in enumerate(self._places(len(names)), start=1):
                if history:
                    network, *_ = self._trained(settings, stage, Epochs(self._kept(stage), number), quiet=True)
                network.save(place)
            kept = self._finished(settings, stage, name, history, choices, started=started, names=names)
        places = self._places(len(kept["names"]))
        return [_Made(title, stage, place) for title, place in zip(kept["names"], places, strict=True)]

    def _kept(self, stage: str) -> Path:
        return self.folder.training / stage / "epochs"


def _seals(places: Sequence[Path]) -> list[str]:
    """What names the content of some folders; of one that is not there, nothing does."""
    files = [place / storage.MANIFEST for place in places]
    return [storage.sha256_of(file) if file.is_file() else "" for file in files]
