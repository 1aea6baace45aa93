"""Labels for training texts that have none: by a model of natural language inference, from the names of the classes.

From here on the corpus is one like any other: labelled texts to train on, unlabelled ones beside, and validation and
test with the user's own labels, which are never touched.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tutelage import storage
from tutelage.artifacts.answers import Answers
from tutelage.artifacts.corpus import DESCRIPTION, SCHEMA, Corpus, Split, join
from tutelage.errors import DataError
from tutelage.folder import LABELS, RunFolder
from tutelage.progress import Progress, Silent
from tutelage.recipe import Recipe
from tutelage.recipe_teacher import ZeroShotRecipe
from tutelage.teacher import load
from tutelage.teacher.zero_shot import Entailment

_KEY = "teacher.zero_shot.model"
_TRIED = 8


@dataclass(frozen=True)
class Labelling:
    """Of one corpus whose training texts have no labels."""

    recipe: Recipe
    asked: ZeroShotRecipe
    folder: RunFolder
    corpus: Corpus
    progress: Progress

    def labelled(self) -> Corpus:
        """The corpus with labels, made or found. Raises `DataError` when a class has no text."""
        models, read = load.identity(self.asked.model, key=_KEY), self.recipe.data.max_tokens
        name = storage.fingerprint_of(LABELS, self.corpus.fingerprint, self.asked.model_dump(), models, read)
        place = self.folder.labelled
        if self.folder.done(LABELS, name, place) is None:
            started = time.monotonic()
            scores = storage.fingerprint_of(self.asked.hypotheses, models, read)
            answers = Answers.open(self.folder.entailed / scores)
            judge = entailment(self.asked)
            train, held = (self._probable(judge, self.corpus[split], answers) for split in ("train", "validation"))
            sure = train.max(axis=1) >= self.asked.confidence
            self._refuse_missing(train, sure)
            right = float((self._targets(held) == self.corpus["validation"].targets).mean())
            choice = self._choice(sure, train, right)
            self._write(name, train, sure, f"{choice['taken']}; {choice['why']}")
            self.folder.finish(LABELS, name, started=started, choices=[choice])
        return Corpus.load(place)

    def _probable(self, judge: Entailment, split: Split, answers: Answers) -> NDArray[np.float64]:
        read = self.recipe.data.max_tokens
        return judge.probabilities(
            split.texts(), self.asked.hypotheses, answers, max_tokens=read, progress=self.progress
        )

    def _targets(self, probable: NDArray[np.float64]) -> NDArray[np.float64]:
        """The likeliest class of each text (N,), as the task numbers it."""
        numbers = np.array([self.corpus.task.encode(label) for label in self.asked.labels])
        return np.asarray(numbers[probable.argmax(axis=1)])

    def _refuse_missing(self, probable: NDArray[np.float64], sure: NDArray[np.bool_]) -> None:
        labels = list(self.asked.labels)
        counts = np.bincount(probable[sure].argmax(axis=1), minlength=len(labels))
        none = [label for label, count in zip(labels, counts, strict=True) if not count]
        if none:
            raise DataError(
                f"of {len(probable):,} texts, {int(sure.sum()):,} were labelled, and none as {' or '.join(none)}",
                expected="texts of every class",
                cure="say otherwise in `teacher.zero_shot.labels` or `hypothesis` what the class means, lower "
                "`teacher.zero_shot.confidence`, or leave the class out",
            )

    def _choice(self, sure: NDArray[np.bool_], probable: NDArray[np.float64], right: float) -> dict[str, Any]:
        rest = len(sure) - int(sure.sum())
        left = f"; the other {rest:,} are read without labels" if rest else ""
        return {
            "what": "labels to train on",
            "taken": f"{int(sure.sum()):,} of {len(sure):,}, from {self.asked.model}{left}",
            "why": f"no training text has a label of its own; on the labelled validation rows this model is right in "
            f"{right:.1%}",
            "figures": {
                "labelled": int(sure.sum()),
                "of": len(sure),
                "right": right,
                "sure": float(probable.max(1).mean()),
            },
        }

    def _write(self, name: str, probable: NDArray[np.float64], sure: NDArray[np.bool_], told: str) -> None:
        train, rows = self.corpus["train"], np.flatnonzero(sure)
        targets = self._targets(probable)[rows]
        splits = {"train": with_targets(train.take(rows), targets)}
        rest = [train.take(np.flatnonzero(~sure)), *_present(self.corpus, "unlabelled")]
        if sum(map(len, rest)):
            splits["unlabelled"] = join("unlabelled", rest)
        with storage.whole_folder(self.folder.labelled) as partial:
            shutil.copytree(self.corpus.folder, partial, dirs_exist_ok=True)
            for title, split in splits.items():
                (partial / f"{title}.arrow").unlink(missing_ok=True)
                split.save(partial / f"{title}.arrow")
            description = json.loads((partial / DESCRIPTION).read_text(encoding="utf-8"))
            description["fingerprint"] = name
            description["splits"] = list(dict.fromkeys([*description["splits"], *splits]))
            _tell(description["health"], self.corpus, splits, targets, told)
            (partial / DESCRIPTION).write_text(json.dumps(description, indent=2, ensure_ascii=False), encoding="utf-8")


def entailment(asked: ZeroShotRecipe) -> Entailment:
    """The model that a recipe names. Raises `ModelError`."""
    place, local = load.locate(asked.model, key=_KEY)
    return Entailment.load(place, local=local, key=_KEY)


def with_targets(split: Split, targets: NDArray[np.float64]) -> Split:
    """The same rows (N) with targets (N,)."""
    place = SCHEMA.get_field_index("target")
    return Split(split.name, split.table.set_column(place, SCHEMA.field("target"), pa.array(targets)))


def tried(recipe: Recipe, asked: ZeroShotRecipe, corpus: Corpus, folder: Path) -> tuple[Corpus, float]:
    """For an estimate: the corpus with labels in turn, and the seconds that labelling will take, from a few texts."""
    judge, train = entailment(asked), corpus["train"].texts()
    some, answers = train[:: max(1, len(train) // _TRIED)], Answers.open(folder)
    started = time.monotonic()
    judge.probabilities(some, asked.hypotheses, answers, max_tokens=recipe.data.max_tokens, progress=Silent())
    seconds = (time.monotonic() - started) / len(some) * (len(train) + len(corpus["validation"]))
    turns = np.arange(len(train), dtype=np.float64) % len(asked.labels)
    return replace(corpus, splits={**corpus.splits, "train": with_targets(corpus["train"], turns)}), seconds


def _present(corpus: Corpus, name: str) -> list[Split]:
    return [corpus[name]] if name in corpus.splits else []


def _tell(
    health: dict[str, Any], corpus: Corpus, splits: dict[str, Split], targets: NDArray[np.float64], told: str
) -> None:
    """The health of the data as it is now."""
    known, task = health["splits"], corpus.task
    known["train"] |= {"rows": len(splits["train"]), "distribution": asdict(task.distribution(targets))}
    if "unlabelled" in splits:
        # How long texts are is known of all that train held.
        before = known.get("unlabelled") or {**known["train"], "distribution": None, "made_from_train": True}
        known["unlabelled"] = before | {"rows": len(splits["unlabelled"])}
    health["warnings"] += [*task.warnings(targets), f"labels to train on: {told}. Every score is of your own labels."]
