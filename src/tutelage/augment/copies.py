"""Changed copies of a corpus' texts, each a new text: never one that any split holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.corpus import COPY, Corpus, Split, content_key, join
from tutelage.artifacts.network import Network
from tutelage.augment import neighbours
from tutelage.augment.given import Given, luck
from tutelage.augment.mask import Masked
from tutelage.augment.ways import WAYS
from tutelage.errors import RecipeError
from tutelage.progress import Progress
from tutelage.recipe_transfer import AugmentRecipe
from tutelage.tasks import Array, Task
from tutelage.text import normalise

# Texts changed between two signs of life.
_BLOCK = 1024
# What a copy means has nothing to do with what its two halves did.
_OF_SEVERAL = ("recombine",)


@dataclass(frozen=True)
class Copies:
    """M new texts."""

    split: Split
    ways: NDArray[np.str_]
    """(M,): how each was made; empty for what is no copy."""
    origin: NDArray[np.int64]
    """(M,): the row of train that each is a copy of; -1 for what is free: of two texts, or of no labelled one."""
    known: Mapping[str, int]
    """How many more were left out by each way, because they were known or the same as another."""

    @classmethod
    def none(cls) -> Copies:
        """No copies."""
        return cls(join("copies", []), np.empty(0, dtype=np.str_), np.empty(0, dtype=np.int64), {})

    def behind(self, others: Split) -> Copies:
        """These and, before them, some texts that are no copies."""
        ways = np.concatenate([np.zeros(len(others), dtype=np.str_), self.ways])
        origin = np.concatenate([np.full(len(others), -1, dtype=np.int64), self.origin])
        return Copies(join("more", [others, self.split]), ways, origin, self.known)


def make(
    corpus: Corpus,
    teacher: Network,
    settings: AugmentRecipe,
    *,
    seed: int,
    normalised: bool,
    masked: Masked | None = None,
    progress: Progress,
) -> Copies:
    """Copies of the training texts and, where the recipe says so, of the unlabelled ones; no label is looked at.

    What comes of a text follows from its content and the seed. A copy that equals a text of any split, of validation
    and test above all, or another copy, is left out.
    """
    texts = corpus["train"].texts()
    labelled = len(texts)
    if settings.unlabelled:
        texts += corpus["unlabelled"].texts()
    given = Given(settings.rate, others=texts, masked=masked)
    if "synonym" in settings.ways:
        given = replace(given, near=neighbours.of_texts(teacher, texts, progress))
    taken = {key.tobytes() for split in corpus.splits.values() for key in split.keys}
    found: list[tuple[str, str, int]] = []
    known: dict[str, int] = dict.fromkeys(settings.ways, 0)
    with progress.bar("Changing texts", len(texts) * len(settings.ways) * settings.copies) as bar:
        for way in settings.ways:
            for number in range(settings.copies):
                for begin in range(0, len(texts), _BLOCK):
                    some = texts[begin : begin + _BLOCK]
                    lucks = [luck(text, seed, way, number) for text in some]
                    for row, made in enumerate(WAYS[way](some, lucks, given), start=begin):
                        copy = normalise(made) if normalised else made
                        key = content_key(copy)
                        if not copy.strip() or key in taken:
                            known[way] += 1
                        else:
                            taken.add(key)
                            found.append((copy, way, row))
                    bar.advance(len(some))
    copies, ways, rows = zip(*found, strict=True) if found else ((), (), ())
    split = Split.unlabelled("copies", copies, [f"{COPY}{way}" for way in ways], [row + 1 for row in rows])
    free = [way in _OF_SEVERAL or row >= labelled for way, row in zip(ways, rows, strict=True)]
    origin = np.where(free, -1, np.asarray(rows, dtype=np.int64))
    return Copies(split, np.asarray(ways, dtype=np.str_), origin, known)


def agrees(task: Task, before: Array, after: Array, tolerance: float) -> NDArray[np.bool_]:
    """Whether a teacher's outputs (M, K) to copies are the answers (M, K) that it gives to their originals.

    Classes: the same class. Values: at most `tolerance` standard deviations of the labels apart.
    """
    distance = task.disagreement(task.predict(before), task.predict(after))
    return np.asarray(distance <= (0.0 if task.outputs == "scores" else tolerance))


def refuse_unfit(settings: AugmentRecipe | None, task: Task | type[Task]) -> None:
    """Raise `RecipeError` when a tolerance is given where answers are the same or not."""
    if settings is None or task.outputs != "scores":
        return
    if settings.tolerance != AugmentRecipe.model_fields["tolerance"].default:
        raise RecipeError(
            "the recipe",
            [
                f"student.augment.tolerance: it says how far values may move, and {task.name} has classes, which stay "
                "or change; leave it out"
            ],
        )
