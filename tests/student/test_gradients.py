"""How far apart the gradients of a student are under a teacher, before it has learned anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage.artifacts.corpus import evenly
from tutelage.artifacts.network import Network
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.student import balance, initialise
from tutelage.student.build import Shape
from tutelage.student.gradients import measure, project, spread
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import load

REVIEWS = tiny_models.reviews()[::10]
TEXTS = [row["text"] for row in REVIEWS]
CLASSES, VALUES = TextClassification(("negative", "positive")), TextRegression(3.0, 2.0)
NARROW, WIDE = Shape(1, 16, 2, 32), Shape(2, 32, 4, 32)
ROWS = np.random.default_rng(0).normal(size=(60, 6)) * np.array([3.0, 1, 1, 1, 0.5, 0.1])


def test_it_is_the_formula_of_the_paper() -> None:
    folds, smoothing = np.arange(60) % 10, 1e-3 / 6 * np.eye(6)
    directions = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    traces = []
    for fold in range(10):
        held, others = ROWS[folds == fold], directions[folds != fold]
        moment = np.mean([np.outer(row, row) for row in others], axis=0) + smoothing
        traces.append(np.trace(np.linalg.inv(moment) @ np.mean([np.outer(row, row) for row in held], axis=0)))
    found = spread(ROWS)
    assert found.grace == pytest.approx(np.mean(traces))
    assert found.norm == pytest.approx(np.square(ROWS).sum(1).mean())


def test_it_grows_with_the_square_of_the_scale_and_not_with_a_rotation() -> None:
    turned = ROWS @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    for other, factor in ((5 * ROWS, 25), (turned, 1), (-ROWS, 1)):
        for key, value in vars(spread(ROWS)).items():
            assert vars(spread(other))[key] == pytest.approx(factor * value)


def test_gradients_that_agree_vary_in_nothing() -> None:
    same = np.tile(ROWS[:1], (20, 1))
    found = spread(same)
    assert found.variance == pytest.approx(0, abs=1e-9)
    # All lie where the others do: the square of the length, over a moment of 1.
    assert found.grace == pytest.approx(found.norm, rel=1e-3)
    assert spread(np.zeros((20, 6))).grace == 0
    # As long, and in directions that no other has: more to change, and less sure.
    apart = np.eye(20) * np.linalg.norm(ROWS[0])
    assert spread(apart).grace > 100 * found.grace
    assert np.isfinite(spread(ROWS[:2]).grace)


def teacher(folder: Path, task: Task) -> Network:
    torch.manual_seed(0)
    network = load.load(str(folder), task, Reading(48))[0]
    with torch.no_grad():
        network.model.classifier.weight.mul_(100)
    return network


def student_of(network: Network, shape: Shape) -> Network:
    words = vocabulary.trim(network.tokenizer, [network.tokenize(TEXTS)])
    return initialise.create(network, shape, tokenizer=words.tokenizer, kept=words.kept, seed=0)


@pytest.mark.parametrize("task", [CLASSES, VALUES], ids=["scores", "quantities"])
@pytest.mark.parametrize("shape", [NARROW, WIDE], ids=["narrow", "as wide"])
def test_the_same_teacher_twice_is_worth_the_same(bert: Path, task: Task, shape: Shape) -> None:
    network = teacher(bert, task)
    found, again, other = (measure(student_of(network, shape), network, [split(TEXTS)], seed=s) for s in (0, 0, 1))
    assert found == again != other
    assert all(np.isfinite(list(vars(found).values())))


def test_each_text_has_its_own_gradient_and_what_is_frozen_has_none(bert: Path) -> None:
    network = teacher(bert, CLASSES)
    student, said = student_of(network, NARROW), torch.tensor([[3.0, -3.0]] * 8)
    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    some = project(student, TEXTS[:8], said, dimensions=64, seed=0)
    assert some.shape == (8, 64)
    assert np.unique(some.round(9), axis=0).shape == (8, 64)
    backwards = project(student, TEXTS[:8][::-1], said, dimensions=64, seed=0)
    np.testing.assert_allclose(backwards[::-1], some, atol=1e-6)
    assert all(torch.equal(value, student.model.state_dict()[name]) for name, value in before.items())
    assert all(weight.grad is None for weight in student.model.parameters())

    # What a student says already, it need not learn.
    own = torch.from_numpy(student.outputs(student.tokenize(TEXTS[:8])))
    assert np.abs(project(student, TEXTS[:8], own, dimensions=64, seed=0)).max() < 1e-5
    full = np.square(some).sum()
    student.model.requires_grad_(False)
    student.model.classifier.bias.requires_grad_(True)
    short = np.square(project(student, TEXTS[:8], said, dimensions=64, seed=0)).sum(1)
    # A cross-entropy moves each score by the difference of the probabilities.
    np.testing.assert_allclose(short, (own.softmax(1) - said.softmax(1)).square().sum(1), rtol=1e-4)
    assert short.sum() < full


def test_a_projection_keeps_lengths_but_for_chance(bert: Path) -> None:
    network = teacher(bert, CLASSES)
    student, said = student_of(network, NARROW), torch.tensor([[3.0, -3.0]] * 4)
    lengths = [np.square(project(student, TEXTS[:4], said, dimensions=2000, seed=seed)).sum(1) for seed in (0, 1)]
    np.testing.assert_allclose(*lengths, rtol=0.1)


def test_who_answers_at_random_is_worse_than_who_knows(bert: Path) -> None:
    network = teacher(bert, CLASSES)
    student = student_of(network, Shape(3, 32, 4, 64))
    said = balance.spoken(network, network.outputs(network.tokenize(TEXTS)))
    # The same words, each of another text.
    shuffled = said[np.random.default_rng(0).permutation(len(TEXTS))]
    knows, guesses = (spread(project(student, TEXTS, words, dimensions=12, seed=0)) for words in (said, shuffled))
    assert guesses.grace > 1.2 * knows.grace
    assert guesses.variance > 1.2 * knows.variance


def test_texts_come_evenly_from_all_there_are() -> None:
    few, many = split([f"a {n}" for n in range(500)]), split([f"b {n}" for n in range(1500)])
    found = [text for part in evenly([few, many], 512) for text in part.texts()]
    assert len(found) == len(set(found)) == 512
    assert sum(text.startswith("a") for text in found) == pytest.approx(128, abs=1)
    assert evenly([split(TEXTS)], 512)[0].texts() == TEXTS
    # One of which nothing is taken is not there.
    assert [len(part) for part in evenly([few, many], 1)] == [1]
