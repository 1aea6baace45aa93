"""Changed copies of a run's texts: the models that some ways need, and the copies that a teacher learns from.

What students read beside is put together in `gather`; both name models in the same keys.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage import storage
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.network import Network
from tutelage.augment import copies as copying
from tutelage.augment import labelled
from tutelage.augment.copies import Copies
from tutelage.augment.given import Tools
from tutelage.augment.mask import Masked
from tutelage.augment.translator import Translator, Translators
from tutelage.folder import RunFolder
from tutelage.progress import Logged
from tutelage.recipe import Recipe
from tutelage.recipe_augment import CopiesRecipe, TranslatorRecipe
from tutelage.teacher import load

_FILE = "copies.arrow"
_DIRECTIONS = ("there", "back")


def identity(settings: CopiesRecipe, *, key: str) -> list[Any]:
    """What copies depend on beside the texts and the model whose words they are: names them.

    `key` is what the recipe calls them.
    """
    models: list[Any] = [load.identity(model, key=named) for named, model in _models(settings, key)]
    # Where none is named, what was kept before there were translators keeps its name.
    return [settings.identity(), *(models or [None])]


def keys(recipe: Recipe, folder: RunFolder) -> NDArray[np.void]:
    """Those of all copies that teachers of a run may have learned from (N,)."""
    files = sorted(folder.copies.glob(f"*/{_FILE}")) if recipe.teacher.augment else []
    return np.concatenate([np.empty(0, dtype="V16"), *(Split.load("copies", file).keys for file in files)])


def refuse_unfit(recipe: Recipe) -> None:
    """Raise `ModelError` when a model that a recipe names cannot do its part, before a teacher is trained."""
    for key, settings in (("student.augment", recipe.student.augment), ("teacher.augment", recipe.teacher.augment)):
        if settings is not None:
            tools(settings, recipe, Path(), key=key)


def tools(settings: CopiesRecipe, recipe: Recipe, folder: Path, *, key: str) -> Tools:
    """The models that ways need; what they translate is kept in `folder`. `key` is what the recipe calls them."""
    masked, translators = None, None
    if settings.masked_model is not None:
        place, local = load.locate(settings.masked_model, key=f"{key}.masked_model")
        masked = Masked.load(place, local=local, length=recipe.data.max_tokens, key=f"{key}.masked_model")
    if (asked := settings.translators) is not None:
        there, back = (_translator(getattr(asked, way), f"{key}.translators.{way}") for way in _DIRECTIONS)
        models = [load.identity(model, key=named) for named, model in _models(settings, key)]
        named = storage.fingerprint_of("translated", asked.model_dump(), models)
        translators = Translators(there, back, asked.temperature, folder / named)
    return Tools(masked, translators)


def _translator(asked: TranslatorRecipe, key: str) -> Translator:
    place, local = load.locate(asked.model, key=key)
    return Translator.look(place, local=local, prefix=asked.prefix, key=key)


def _models(settings: CopiesRecipe, key: str) -> Iterator[tuple[str, str]]:
    """Keys of a recipe that name models, and the models."""
    if settings.masked_model is not None:
        yield f"{key}.masked_model", settings.masked_model
    for way in _DIRECTIONS if settings.translators else ():
        yield f"{key}.translators.{way}", getattr(settings.translators, way).model


@dataclass(frozen=True)
class Rewording:
    """Copies of the training texts for teachers."""

    recipe: Recipe
    folder: RunFolder
    corpus: Corpus
    progress: Logged

    def enlarged(
        self, network: Network, settings: CopiesRecipe, stage: str, name: str
    ) -> tuple[Corpus, dict[str, Any]]:
        """The corpus with copies among its training rows, made or found, and what became of them.

        `network` is the model as it is before it learns; `name` of the teacher stands for all that copies depend on.
        """
        place, made = self.folder.copies / stage.replace(" ", "-"), f"copies for the {stage}"
        kept = self.folder.done(made, name, place)
        if kept is None:
            started = time.monotonic()
            copies = copying.make(
                self.corpus,
                network,
                settings,
                seed=self.recipe.seed,
                normalised=self.recipe.data.normalise,
                by_class=True,
                tools=tools(settings, self.recipe, self.folder.translated, key="teacher.augment"),
                progress=self.progress,
            )
            with storage.whole_folder(place) as partial:
                copies.split.save(partial / _FILE)
            kept = self.folder.finish(made, name, started=started, choice=_told(settings, copies))
        train = labelled.behind(self.corpus["train"], Split.load("copies", place / _FILE))
        return replace(self.corpus, splits={**self.corpus.splits, "train": train}), kept["choice"]


def _told(settings: CopiesRecipe, copies: Copies) -> dict[str, Any]:
    made = {way: int((copies.ways == way).sum()) for way in settings.ways}
    told = [f"{way}: {made[way]:,} made, {copies.known[way]:,} more were no new texts" for way in settings.ways]
    return {
        "what": "changed copies for the teacher",
        "taken": f"{sum(made.values()):,}, each with the label of its text",
        "why": ". ".join(told),
        "figures": {"made": made, "no_new_text": dict(copies.known)},
    }
