"""Changed copies of a corpus' texts, each a new text: never one that any split holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.corpus import COPY, Corpus, Split, content_key, join
from tutelage.artifacts.network import Network
from tutelage.augment import back_translate, neighbours
from tutelage.augment.given import Given, Pool, Tools, luck
from tutelage.augment.ways import WAYS
from tutelage.errors import RecipeError
from tutelage.progress import Progress
from tutelage.recipe_augment import AugmentRecipe, CopiesRecipe, TeacherAugmentRecipe, WayName
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
    settings: CopiesRecipe,
    *,
    seed: int,
    normalised: bool,
    unlabelled: bool = False,
    by_class: bool = False,
    tools: Tools | None = None,
    progress: Progress,
) -> Copies:
    """Copies of the training texts and, with `unlabelled`, of those without labels.

    No label is looked at, unless `by_class` says that halves are to be of two texts of one class. What comes of a text
    follows from its content and the seed. A copy that equals a text of any split, of validation and test above all, or
    another copy, is left out.
    """
    texts = corpus["train"].texts()
    labelled = len(texts)
    # Where each of them is in another split too, there is no such split.
    if unlabelled and "unlabelled" in corpus.splits:
        texts += corpus["unlabelled"].texts()
    given = _given(texts, teacher, settings, tools or Tools(), seed=seed, progress=progress)
    pools = _pools(texts, corpus["train"].targets if by_class else None)
    taken = {key.tobytes() for split in corpus.splits.values() for key in split.keys}
    found: list[tuple[str, str, int]] = []
    known: dict[str, int] = dict.fromkeys(settings.ways, 0)
    with progress.bar("Changing texts", len(texts) * settings.each) as bar:
        for way, number, rows, others in _turns(settings, pools):
            mine = given if others is None else replace(given, others=others)
            some = [texts[row] for row in rows]
            lucks = [luck(text, seed, way, number) for text in some]
            for row, made in zip(rows, WAYS[way](some, lucks, mine), strict=True):
                copy = normalise(made) if normalised else made
                key = content_key(copy)
                if not copy.strip() or key in taken:
                    known[way] += 1
                else:
                    taken.add(key)
                    found.append((copy, way, row))
            bar.advance(len(some))
    copies, ways, origins = zip(*found, strict=True) if found else ((), (), ())
    split = Split.unlabelled("copies", copies, [f"{COPY}{way}" for way in ways], [row + 1 for row in origins])
    free = [way in _OF_SEVERAL or row >= labelled for way, row in zip(ways, origins, strict=True)]
    origin = np.where(free, -1, np.asarray(origins, dtype=np.int64))
    return Copies(split, np.asarray(ways, dtype=np.str_), origin, known)


def _given(
    texts: list[str], teacher: Network, settings: CopiesRecipe, tools: Tools, *, seed: int, progress: Progress
) -> Given:
    """What the ways need beside the texts."""
    given = Given(settings.rate, others=Pool(texts), masked=tools.masked)
    if "synonym" in settings.ways:
        given = replace(given, near=neighbours.of_texts(teacher, texts, progress))
    if tools.translators is not None:
        told = back_translate.of_texts(texts, tools.translators, copies=settings.copies, seed=seed, progress=progress)
        given = replace(given, translated=told)
    return given


def _pools(texts: list[str], targets: Array | None) -> list[tuple[list[int], Pool | None]]:
    """Rows that may lend each other their halves, and their texts; one pool of all, unless there are targets (N,)."""
    if targets is None:
        return [(list(range(len(texts))), None)]
    rows = [np.flatnonzero(targets == target).tolist() for target in np.unique(targets)]
    return [(mine, Pool([texts[row] for row in mine])) for mine in rows]


def _turns(
    settings: CopiesRecipe, pools: list[tuple[list[int], Pool | None]]
) -> Iterator[tuple[WayName, int, list[int], Pool | None]]:
    """Every way, which copy it is, some rows, and the texts of their pool."""
    for way in settings.ways:
        for number in range(settings.copies):
            for rows, others in pools:
                for begin in range(0, len(rows), _BLOCK):
                    yield way, number, rows[begin : begin + _BLOCK], others


def agrees(task: Task, before: Array, after: Array, tolerance: float) -> NDArray[np.bool_]:
    """Whether a teacher's outputs (M, K) to copies are the answers (M, K) that it gives to their originals.

    Classes: the same class. Values: at most `tolerance` standard deviations of the labels apart.
    """
    distance = task.disagreement(task.predict(before), task.predict(after))
    return np.asarray(distance <= (0.0 if task.outputs == "scores" else tolerance))


def refuse_unfit(student: AugmentRecipe | None, teacher: TeacherAugmentRecipe | None, task: Task | type[Task]) -> None:
    """Raise `RecipeError` when a tolerance is given where answers are the same or not, or copies are to inherit values.

    Copies that inherited their text's value made a teacher worse, if anything (TinyBERT leaves them out for STS-B):
    a word less moves a value, and there is nobody to say how far.
    """
    problems = []
    default = AugmentRecipe.model_fields["tolerance"].default
    if student is not None and task.outputs == "scores" and student.tolerance != default:
        problems.append(
            f"student.augment.tolerance: it says how far values may move, and {task.name} has classes, which stay "
            "or change; leave it out"
        )
    if teacher is not None and task.outputs != "scores":
        problems.append(
            f"teacher.augment: a copy would inherit the value of its text, and {task.name} has values, which a few "
            "words move; leave it out, and let the student ask its teacher instead (`student.augment`)"
        )
    if problems:
        raise RecipeError("the recipe", problems)
