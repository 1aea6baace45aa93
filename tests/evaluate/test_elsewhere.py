"""Scores on other data: every player, paired, with intervals."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tutelage.artifacts.corpus import Corpus, Split
from tutelage.evaluate import elsewhere
from tutelage.progress import Silent
from tutelage.recipe import EvaluateRecipe
from tutelage.tasks import TextClassification

TARGETS = np.tile([0.0, 1.0], 50)
NOTHING = np.empty(0, dtype="V16")


def split(name: str) -> Split:
    keys = pa.array([index.to_bytes(16) for index in range(100)], pa.binary(16))
    texts = [f"{name} {index}" for index in range(100)]
    return Split(name, pa.table({"text": texts, "target": TARGETS, "key": keys}))


def player(wrong: int) -> Any:
    """Wrong on the first few rows of whatever it is given."""

    def predict(texts: list[str]) -> np.ndarray:
        right = TARGETS[[int(text.split()[1]) for text in texts]].astype(int)
        right[:wrong] = 1 - right[:wrong]
        return np.eye(2)[right]

    return SimpleNamespace(predict=predict)


def test_every_player_is_scored_on_every_set() -> None:
    names = ("French", "German")
    others = {name: split(name) for name in names}
    corpus = Corpus(Path(), TextClassification(("a", "b")), {}, "", {}, others)
    players = {"teacher": player(10), "student": player(28), "baseline": player(50)}
    found = elsewhere.examine(
        corpus, players, EvaluateRecipe(resamples=200), learned=NOTHING, seed=0, progress=Silent()
    )
    assert [(other.name, other.rows) for other in found] == [(name, 100) for name in names]
    for other in found:
        values = {role: scores["accuracy"].value for role, scores in other.scores.items()}
        assert values == {"teacher": 0.9, "student": 0.72, "baseline": 0.5}
        kept = other.retention
        assert kept is not None
        assert kept.value == pytest.approx(0.8)
        # Paired: the student is wrong wherever the teacher is, so that it never keeps more than all of it.
        assert kept.low is not None
        assert kept.high is not None
        assert 0.65 < kept.low < 0.8 < kept.high < 1


def test_without_other_data_nobody_is_asked() -> None:
    corpus = Corpus(Path(), TextClassification(("a", "b")), {}, "", {})
    more: Any = {"learned": NOTHING, "seed": 0, "progress": Silent()}
    assert elsewhere.examine(corpus, {"teacher": object()}, EvaluateRecipe(), **more) == []  # type: ignore[dict-item]


def test_rows_that_a_changed_copy_reads_as_are_left_out() -> None:
    other = split("French")
    corpus = Corpus(Path(), TextClassification(("a", "b")), {}, "", {}, {"French": other})
    players = {"teacher": player(10), "student": player(10)}
    more: Any = {"learned": other.keys[5:25], "seed": 0, "progress": Silent()}
    (found,) = elsewhere.examine(corpus, players, EvaluateRecipe(resamples=200), **more)
    assert found.rows == 80
    assert found.scores["teacher"]["accuracy"].value == pytest.approx(70 / 80)
