"""Of many texts those are taken that a linear model is least sure of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from splits import split
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording, Signals, write_shard
from tutelage.augment import vocabulary
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe_transfer import SelectRecipe
from tutelage.student import learning_curve, usefulness
from tutelage.tasks import TextClassification
from tutelage.teacher import load

CLASSES = TextClassification(("negative", "positive"))
TRAIN = [f"{word} film number {n}" for n in range(30) for word in ("good", "bad")]
# Known words, then what says nothing of either class.
MORE = ["good good good", "bad bad bad", "good bad", "film number", "good film", "bad film"]


@pytest.fixture(scope="module")
def teacher(bert: Path) -> Network:
    return load.load(str(bert), CLASSES, Reading(48))[0]


def told(folder: Path, texts: list[str], outputs: np.ndarray) -> Signals:
    """What a teacher says that is told what to say."""
    records = np.zeros(len(texts), dtype=Recording(2, ()).dtype)
    records["key"], records["outputs"] = split(texts).keys, outputs
    folder.mkdir()
    write_shard(folder, 0, records)
    return Signals.open(folder, Recording(2, ()))[0]


@pytest.fixture
def signals(tmp_path: Path) -> Signals:
    sure = np.array([4.0 if "good" in text else -4.0 for text in TRAIN])
    return told(tmp_path / "told", TRAIN, np.stack([-sure, sure], axis=1))


def test_what_is_known_already_is_left_out(teacher: Network, signals: Signals) -> None:
    doubts = usefulness.uncertainty(teacher, split(TRAIN), signals, split(MORE))
    assert doubts.shape == (6,)
    assert (doubts >= 0).all()
    assert min(doubts[2:4]) > max(doubts[[0, 1, 4, 5]])
    settings = SelectRecipe(share=1 / 3)
    assert usefulness.choose(teacher, split(TRAIN), signals, split(MORE), settings, seed=0).tolist() == [2, 3]


def test_a_share_by_lot_depends_on_the_texts_alone(teacher: Network, signals: Signals) -> None:
    def drawn(texts: list[str], share: float, seed: int = 0) -> list[str]:
        settings = SelectRecipe(share=share, by="random")
        rows = usefulness.choose(teacher, split(TRAIN), signals, split(texts), settings, seed=seed)
        assert rows.tolist() == sorted(rows.tolist())
        return [texts[row] for row in rows]

    texts = [f"text {n}" for n in range(100)]
    half = drawn(texts, 0.5)
    assert len(half) == 50
    assert sorted(half) == sorted(drawn(texts[::-1], 0.5))
    assert half != drawn(texts, 0.5, seed=1)
    assert set(drawn(texts, 0.1)) < set(half)
    assert drawn([], 0.5) == []
    assert len(drawn(texts[:2], 0.01)) == 1


def test_more_texts_help_where_there_is_more_to_know(teacher: Network, tmp_path: Path) -> None:
    """Of 80 words each is good or bad: more texts teach more of them. A teacher that draws lots teaches nothing."""
    random = np.random.default_rng(0)
    words = sorted(vocabulary.whole_words(teacher.tokenizer).values())[:80]
    good = {word: number % 2 for number, word in enumerate(words)}
    some = [random.choice(words, 3, replace=False).tolist() for _ in range(360)]
    texts, labels = [" ".join(each) for each in some], [float(sum(good[word] for word in each) > 1) for each in some]
    found = {}
    for name, side in {"right": np.array(labels[:160]), "lots": random.integers(0, 2, 160).astype(float)}.items():
        sure = 4 * side - 2
        said = told(tmp_path / name, texts[:160], np.stack([-sure, sure], axis=1))
        rows = [split(texts[:160], labels[:160]), split(texts[160:], labels[160:])]
        found[name] = learning_curve.measure(teacher, rows[:1], said, rows[1], seed=0, progress=Silent())
    right = [point["loss"]["value"] for point in found["right"]["points"]]
    assert right[0] > right[1] > right[2]
    assert found["right"]["doubled"]["low"] > 0
    assert found["right"]["sentence"].endswith("more such text would help.")
    assert found["lots"]["doubled"]["low"] <= 0
    assert "hardly help" in found["lots"]["sentence"]
    assert found["right"]["beside"] is None


def test_every_text_counts_once_at_every_size(
    teacher: Network, signals: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[np.ndarray] = []
    monkeypatch.setattr(
        learning_curve._ClassRoom, "losses", lambda _, rows: learned.append(rows) or np.full(20, 1 / len(rows))
    )
    parts = [split(TRAIN[:40]), split(TRAIN[40:], [None] * 20)]
    curve = learning_curve.measure(teacher, parts, signals, split(MORE * 4), seed=0, progress=Silent())
    own, both = learned[:7], learned[7:]
    for lessons, total in ((own, 40), (both, 60)):
        for some in (lessons[:4], lessons[4:6], lessons[6:]):
            assert sorted(np.concatenate(some).tolist()) == list(range(total))
    assert all((rows >= 40).sum() == 5 for rows in both[:4])
    assert [point["texts"] for point in curve["points"]] == [10, 20, 40, 15, 30, 60]
    assert curve["beside"]["value"] == pytest.approx(1 / 40 - 1 / 60)
    assert "The 20 texts beside the training texts changed it by -0.0083" in curve["sentence"]
