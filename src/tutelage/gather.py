"""Which texts a student learns from beside the labelled ones: unlabelled, changed copies, or a share of both.

What was gathered is kept as one split in the run's folder. Without copies and without a choice nothing is made: the
unlabelled texts are the corpus' own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage import rewording, storage
from tutelage.artifacts import corpus as corpora
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Signals
from tutelage.augment import copies as copying
from tutelage.augment.copies import Copies
from tutelage.folder import RunFolder
from tutelage.progress import Logged
from tutelage.recipe import Recipe
from tutelage.recipe_augment import AugmentRecipe
from tutelage.recipe_transfer import SelectRecipe
from tutelage.student import usefulness

STAGE = "texts"
_FILE = "more.arrow"

Record = Callable[[list[Split]], Signals]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Gathering:
    """What students of one teacher read."""

    recipe: Recipe
    folder: RunFolder
    corpus: Corpus
    teacher: Network
    teacher_name: str
    progress: Logged
    fits: SelectRecipe | None = None
    """Which share has to do where the recipe names none."""

    def of(self, share: SelectRecipe | None) -> Gathering:
        """The same, of a share where students have no time for more; None: of everything."""
        return replace(self, fits=share)

    @property
    def _select(self) -> SelectRecipe | None:
        return self.recipe.student.select or self.fits

    @cached_property
    def name(self) -> str | None:
        """Changes with whatever the texts depend on; None where nothing but the corpus' own is asked for."""
        student = self.recipe.student
        if student.augment is None and self._select is None:
            return None
        copied, *models = [None, None]
        if student.augment is not None:
            copied, *models = rewording.identity(student.augment, key="student.augment")
        asked = [copied, self._select and self._select.model_dump()]
        return storage.fingerprint_of(STAGE, self.teacher_name, self.recipe.seed, asked, *models)

    def splits(self, record: Record) -> list[Split]:
        """The training texts and whatever else there is; `record` says what the teacher says of some splits."""
        own = self.corpus.read
        if self.name is None:
            self.folder.forget(STAGE)
            return own
        if self.folder.done(STAGE, self.name, self.folder.texts) is None:
            self._gather(self.name, record)
        more = Split.load("more", self.folder.texts / _FILE)
        return [self.corpus["train"], *([more] if len(more) else [])]

    def _gather(self, name: str, record: Record) -> None:
        started, train, settings = time.monotonic(), self.corpus["train"], self.recipe.student
        every = self._candidates(settings.augment)
        chosen, choices = np.arange(len(every.split)), []
        if self._select is not None:
            # Only what is chosen is recorded: reading is what more texts cost the teacher.
            told = record([train]) if self._select.by == "uncertainty" else None
            started -= told.earlier if told else 0.0
            chosen = usefulness.choose(self.teacher, train, told, every.split, self._select, seed=self.recipe.seed)
            choices.append(_selected("time" if self.fits else self._select.by, len(chosen), len(every.split)))
        if settings.augment is not None:
            kept = chosen
            if settings.augment.keep == "agreement":
                signals = record([train, every.split.take(chosen)])
                started -= signals.earlier
                kept = self._agreeing(chosen, every, signals, settings.augment.tolerance)
            choices.insert(0, _copied(settings.augment, every, chosen, kept))
            chosen = kept
        with storage.whole_folder(self.folder.texts) as partial:
            every.split.take(chosen).save(partial / _FILE)
        self.folder.finish(STAGE, name, started=started, choices=choices)

    def _candidates(self, settings: AugmentRecipe | None) -> Copies:
        """The unlabelled texts, if there are any, and behind them the copies, if there are to be any."""
        unlabelled = [self.corpus["unlabelled"]] if "unlabelled" in self.corpus.splits else []
        copies = self._copies(settings) if settings else Copies.none()
        return copies.behind(corpora.join("more", unlabelled))

    def _copies(self, settings: AugmentRecipe) -> Copies:
        return copying.make(
            self.corpus,
            self.teacher,
            settings,
            seed=self.recipe.seed,
            normalised=self.recipe.data.normalise,
            unlabelled=settings.unlabelled,
            tools=rewording.tools(settings, self.recipe, self.folder.translated, key="student.augment"),
            progress=self.progress,
        )

    def _agreeing(self, chosen: Rows, every: Copies, signals: Signals, tolerance: float) -> Rows:
        """Of the chosen rows, those that are free, or of which the teacher says what it says of their originals."""
        origin = every.origin[chosen]
        bound = origin >= 0
        keys = every.split.keys[chosen[bound]], self.corpus["train"].keys[origin[bound]]
        after, before = (signals.outputs(signals.find(some), some) for some in keys)
        fine = np.ones(len(chosen), dtype=bool)
        fine[bound] = copying.agrees(self.teacher.task, before, after, tolerance)
        return chosen[fine]


def _copied(settings: AugmentRecipe, every: Copies, chosen: Rows, kept: Rows) -> dict[str, Any]:
    """How many copies there are, and what became of the others, by way."""
    made, left, stays = (
        {way: int((every.ways[rows] == way).sum()) for way in settings.ways}
        for rows in (np.arange(len(every.ways)), chosen, kept)
    )
    changed = {way: left[way] - stays[way] for way in settings.ways}
    told = [
        f"{way}: {made[way]:,} made, {stays[way]:,} kept, {changed[way]:,} dropped where the teacher's answer changed; "
        f"{every.known[way]:,} more were no new texts"
        for way in settings.ways
    ]
    return {
        "what": "changed copies",
        "taken": f"{sum(stays.values()):,} of {sum(made.values()):,}",
        "why": ". ".join(told),
        "figures": {"made": made, "kept": stays, "changed_answer": changed, "no_new_text": dict(every.known)},
    }


def _selected(by: str, chosen: int, every: int) -> dict[str, Any]:
    reasons = {
        "uncertainty": "a linear model that the teacher taught on the training texts is least sure of them",
        "random": "drawn by lot",
        "time": "drawn by lot, as many as `student.search_time` leaves time for; `select: {share: 1}` takes all",
    }
    return {
        "what": "share of the unlabelled texts and copies",
        "taken": f"{chosen:,} of {every:,}",
        "why": reasons[by],
        "figures": {"taken": chosen, "of": every},
    }
