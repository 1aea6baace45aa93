"""The linear model that any Transformer must beat: fitted on real reviews, in any script, on any texts."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import numpy as np
import pytest

import tiny_models
from splits import split
from tutelage.artifacts.corpus import Corpus
from tutelage.evaluate import baseline
from tutelage.evaluate.baseline import Baseline
from tutelage.tasks import Task, TextClassification, TextRegression

TWO = TextClassification(("neg", "pos"))
# Said with and without spaces; the last word decides.
GOOD, BAD = ["好看", "喜欢", "精彩"], ["难看", "讨厌", "无聊"]


def corpus(task: Task, texts: list[str], targets: list[float]) -> Corpus:
    return Corpus(Path(), task, {"train": split(texts, targets)}, "name", {})


def of_reviews(label: str) -> tuple[Corpus, list[str], np.ndarray]:
    """400 reviews to learn from; 80 others with their targets."""
    rows = tiny_models.reviews()
    random.Random(0).shuffle(rows)
    kind = TextClassification if label == "label" else TextRegression
    task = kind.fit([row[label] for row in rows])
    texts, targets = [row["text"] for row in rows], [task.encode(row[label]) for row in rows]
    return corpus(task, texts[:400], targets[:400]), texts[400:], np.array(targets[400:])


def chinese(count: int = 120, seed: int = 0) -> tuple[list[str], list[float]]:
    drawn = random.Random(seed)
    texts, targets = [], []
    for _ in range(count):
        target = drawn.randrange(2)
        subject = drawn.choice(["这部电影", "那个故事", "整个剧本", "男主角的表演"])
        texts.append(f"我觉得{subject}{drawn.choice((BAD, GOOD)[target])}")
        targets.append(float(target))
    return texts, targets


def test_it_learns_the_sentiment_of_real_reviews() -> None:
    known, texts, targets = of_reviews("label")
    baseline = Baseline.fit(known, seed=0)
    predictions = baseline.predictions(texts)
    assert predictions.shape == (80, 2)
    np.testing.assert_allclose(predictions.sum(1), 1.0)
    train = known["train"]
    assert known.task.headline.compute(baseline.predictions(train.texts()), train.targets) > 0.9
    log_loss = next(metric for metric in known.task.metrics if metric.name == "log_loss")
    shares = np.tile(np.bincount(train.targets.astype(int)) / len(train), (80, 1))
    assert log_loss.compute(predictions, targets) < log_loss.compute(shares, targets)


def test_it_learns_the_ratings_of_real_reviews() -> None:
    known, texts, targets = of_reviews("rating")
    predictions = Baseline.fit(known, seed=0).predictions(texts)
    assert predictions.shape == (80,)
    assert known.task.headline.compute(predictions, targets) > 0.1
    assert abs(predictions.mean() - known["train"].targets.mean()) < 0.5


@pytest.mark.parametrize("spaces", ["none", "some"])
def test_where_words_are_not_spaced_it_reads_characters(spaces: str) -> None:
    texts, targets = chinese()
    if spaces == "some":
        texts = [text.replace("我觉得", "我 觉得 ， 真的 ， ") for text in texts]
    baseline = Baseline.fit(corpus(TWO, texts, targets), seed=0)
    assert baseline.features.analyzer == "char"
    # Words as a whole were never seen alone.
    predictions = baseline.predictions([*GOOD, *BAD])
    assert predictions.argmax(1).tolist() == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    "text", ["これはとても面白い映画でした", "ภาพยนตร์เรื่องนี้ดีมาก", "ຮູບເງົານີ້ດີຫຼາຍ", "រឿងនេះល្អណាស់", "ဒီရုပ်ရှင်က ကောင်းတယ်", "好"]
)
def test_other_scripts_without_spaces_are_read_as_characters(text: str) -> None:
    baseline = Baseline.fit(corpus(TWO, [text, text + text] * 5, [0.0, 1.0] * 5), seed=0)
    assert baseline.features.analyzer == "char"


@pytest.mark.parametrize(
    "text",
    [
        "play music",
        "fine",
        "이 영화는 정말 재미있어요",
        "Отличный фильм",
        "फ़िल्म बहुत अच्छी है",
        "فيلم رائع جدا",
        "a 好 film",
    ],
)
def test_spaced_scripts_are_read_as_words_however_short(text: str) -> None:
    baseline = Baseline.fit(corpus(TWO, [text, f"{text} {text}"] * 5, [0.0, 1.0] * 5), seed=0)
    assert baseline.features.analyzer == "word"


def test_texts_without_a_word_do_not_stop_the_run() -> None:
    texts, targets = ["😀 👍", "😡 👎", "!!! :)", "??? :("] * 80, [1.0, 0.0] * 160
    baseline = Baseline.fit(corpus(TWO, texts, targets), seed=0)
    predictions = baseline.predictions(texts)
    assert (predictions.argmax(1) == np.array(targets)).mean() > 0.9


def test_texts_that_share_nothing_do_not_stop_the_run() -> None:
    texts = [chr(0x100 + number) for number in range(300)]
    baseline = Baseline.fit(corpus(TWO, texts, [0.0, 1.0] * 150), seed=0)
    assert baseline.predictions(texts).shape == (300, 2)


def test_unseen_and_empty_texts_get_an_answer() -> None:
    known, _, _ = of_reviews("label")
    predictions = Baseline.fit(known, seed=0).predictions(["", "ξένος", "\n"])
    np.testing.assert_allclose(predictions, np.tile(predictions[0], (3, 1)))
    assert np.isfinite(predictions).all()


def test_a_class_without_training_rows_is_never_the_answer() -> None:
    texts, targets = chinese()
    three = TextClassification(("neg", "pos", "unseen"))
    predictions = Baseline.fit(corpus(three, texts, targets), seed=0).predictions(texts)
    assert predictions.shape == (120, 3)
    assert predictions[:, 2].max() < 1e-6


def test_the_seed_decides_and_nothing_warns() -> None:
    texts, targets = chinese()
    for known in (of_reviews("label")[0], corpus(TWO, texts, targets)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            one, other = (Baseline.fit(known, seed=0).predictions(texts) for _ in range(2))
        np.testing.assert_array_equal(one, other)


def test_its_cost_is_counted() -> None:
    known, _, _ = of_reviews("label")
    baseline = Baseline.fit(known, seed=0)
    grams = len(baseline.features.vocabulary_)
    assert baseline.parameters == grams + 1  # one weight a feature and the intercept
    assert baseline.size > 8 * grams
    assert baseline.describe() == f"LogisticRegression, {grams:,} n-grams"


def test_many_classes_leave_the_most_frequent_n_grams(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a fine film", "a fine day", "a fine rare word", "a fine thing"]
    monkeypatch.setattr(baseline, "_MOST_WEIGHTS", 30)
    features, rows = baseline._features(texts, 10)
    assert set(features.vocabulary_) == {"a", "fine", "a fine"}
    assert rows.shape == (4, 3)
    assert len(baseline._features(texts, 1)[0].vocabulary_) > 3
