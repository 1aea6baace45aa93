"""Several teachers speak as one: weighed by what they know, as equals where nobody can tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage.artifacts.network import Network
from tutelage.encoding import Reading
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import load, pool

TASK = TextClassification(("negative", "neutral", "positive"))


def network_of(bert: Path, task: Task = TASK) -> Network:
    torch.manual_seed(0)
    return load.load(str(bert), task, Reading(48))[0]


def answers(rows: int, *, right: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Outputs that are right in a share of the rows, and the targets, which are the same for every seed."""
    targets = np.random.default_rng(0).integers(0, 3, rows)
    chance = np.random.default_rng(seed)
    said = np.where(chance.random(rows) < right, targets, chance.integers(0, 3, rows))
    return 2.0 * np.eye(3)[said] + chance.normal(0, 0.1, (rows, 3)), targets.astype(float)


def test_who_knows_weighs_more_the_more_rows_tell(bert: Path) -> None:
    network, weights = network_of(bert), {}
    for rows in (6, 60, 600):
        (good, targets), (bad, _) = answers(rows, right=0.9, seed=1), answers(rows, right=0.1, seed=2)
        weights[rows] = pool.weigh(network, [good, bad], targets)
        assert weights[rows].sum() == pytest.approx(1)
        np.testing.assert_allclose(pool.weigh(network, [bad, good], targets), weights[rows][::-1], atol=1e-4)
    assert weights[6][0] < weights[60][0] < weights[600][0]
    assert weights[6][0] < 0.65
    assert weights[600][0] > 0.85


def test_equals_weigh_the_same(bert: Path) -> None:
    said, targets = answers(200, right=0.8, seed=1)
    np.testing.assert_allclose(pool.weigh(network_of(bert), [said] * 3, targets), [1 / 3] * 3, atol=1e-6)


def test_together_two_that_err_apart_are_better(bert: Path) -> None:
    """Of quantities in any unit, a weighted mean; the better one weighs more."""
    chance = np.random.default_rng(0)
    targets = 1e5 * chance.normal(5, 1, 400)
    several = [(targets + 1e5 * chance.normal(0, noise, 400))[:, None] for noise in (0.5, 0.8)]
    weights = pool.weigh(network_of(bert, TextRegression.fit(targets.tolist())), several, targets)
    assert weights[0] == pytest.approx(0.64 / 0.89, abs=0.08)  # by the inverse of the variances
    errors = [
        np.square(one[:, 0] - targets).mean() for one in (*several, weights[0] * several[0] + weights[1] * several[1])
    ]
    assert errors[2] < 0.85 * min(errors[:2])


def test_what_it_says_is_the_weighted_sum_whatever_the_tokens(bert: Path, tmp_path: Path) -> None:
    teacher, places = network_of(bert), []
    for number, write in enumerate((tiny_models.write_gpt2, tiny_models.write_distilbert)):
        other = load.load(str(write(tmp_path / str(number))), TASK, Reading(48))[0]
        other.save(tmp_path / f"saved {number}")
        places.append(tmp_path / f"saved {number}")
    texts = [row["text"] for row in tiny_models.reviews()[:20]]
    tokens = teacher.tokenize(texts)
    outputs = teacher.outputs(tokens)
    voice = pool.Pool("", teacher, tuple(places), (0.5, 0.2, 0.4))
    expected = 0.5 * outputs
    for weight, place in zip((0.2, 0.4), places, strict=True):
        network = Network.load(place, TASK, Reading(48))
        expected = expected + weight * network.outputs(network.tokenize(texts))
    np.testing.assert_allclose(voice.said(texts, split(texts).keys, tokens, outputs), expected, atol=1e-5)
