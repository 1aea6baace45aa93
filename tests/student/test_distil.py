"""A student learns what its teacher says, and the semantics of alpha and temperature hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording, Signals
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.student import distil, initialise, matching
from tutelage.student.build import Shape
from tutelage.student.matching import Plan
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import load, signals
from tutelage.training import supervised

REVIEWS = tiny_models.reviews()[::4]  # of both classes alike: the file is sorted in part
TEXTS = [row["text"] for row in REVIEWS]
CLASSES = [float(row["label"] == "positive") for row in REVIEWS]
CLASSIFICATION = TextClassification(("negative", "positive"))


def teacher(folder: Path, task: Task = CLASSIFICATION) -> Network:
    """A teacher whose opinions differ from text to text."""
    torch.manual_seed(0)
    network = load.load(str(folder), task, Reading(48))[0]
    with torch.no_grad():
        network.model.classifier.weight.mul_(300)
    return network


def student_of(network: Network, shape: Shape) -> Network:
    words = vocabulary.trim(network.tokenizer, [network.tokenize(TEXTS)])
    return initialise.create(network, shape, tokenizer=words.tokenizer, kept=words.kept, seed=0)


def taught(
    network: Network, shape: Shape, folder: Path, targets: list[float | None] | None = None, **settings: object
) -> tuple[Network, list[dict[str, float]]]:
    student = student_of(network, shape)
    rows = split(TEXTS, targets or CLASSES)
    wanted = Recording(network.task.width, (2, 4), 32)
    recorded = signals.record(network, [rows], wanted, folder=folder / "signals", progress=Silent())
    recipe = StudentRecipe.model_validate({"epochs": 12, "learning_rate": 3e-3, "patience": None, **settings})
    state = distil.distil(
        student,
        distil.transfer_set(student, [rows], recorded),
        recorded,
        rows,
        recipe,
        seed=0,
        folder=folder / "training",
        progress=Silent(),
    )
    return student, state.history


def agreement(one: Network, other: Network) -> float:
    answers = [n.outputs(n.tokenize(TEXTS)).argmax(1) for n in (one, other)]
    return float((answers[0] == answers[1]).mean())


@pytest.mark.parametrize("shape", [Shape(2, 32, 4, 32), Shape(2, 16, 4, 32)])
def test_the_student_comes_to_agree_with_its_teacher(bert: Path, tmp_path: Path, shape: Shape) -> None:
    network = teacher(bert)
    student, history = taught(network, shape, tmp_path)
    assert agreement(student, network) > 0.85
    assert history[-1]["loss"] < history[0]["loss"]


def test_the_teacher_itself_has_nothing_to_learn(bert: Path, tmp_path: Path) -> None:
    """Signals equal to the student's own outputs: the loss is the teacher's entropy from the start."""
    network = teacher(bert)
    student = student_of(network, Shape(4, 32, 4, 64))
    rows = split(TEXTS, CLASSES)
    recorded = signals.record(
        network, [rows], Recording(2, (1, 2, 3, 4), 32), folder=tmp_path / "signals", progress=Silent()
    )
    transfer = distil.transfer_set(student, [rows], recorded)
    plan = matching.of_recorded(recorded.recording)
    learner = distil.Learner(student.model, plan, width=32, teacher_width=32)
    loss = distil._loss(student, transfer, recorded, StudentRecipe(), plan)
    with torch.inference_mode():
        total = float(loss(learner, np.arange(len(TEXTS)), 0.0)) / len(TEXTS)
    probabilities = CLASSIFICATION.predict(network.outputs(network.tokenize(TEXTS)))
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(1).mean()
    assert total == pytest.approx(entropy, abs=2e-4)


def objective(network: Network, recorded: Signals, targets: list[float | None], **settings: object) -> float:
    student = student_of(network, Shape(2, 32, 4, 32))
    transfer = distil.transfer_set(student, [split(TEXTS, targets)], recorded)
    recipe = StudentRecipe.model_validate({"hidden": 0.0, **settings})
    learner = distil.Learner(student.model, Plan(), width=32, teacher_width=32)
    loss = distil._loss(student, transfer, recorded, recipe, Plan())
    with torch.inference_mode():
        return float(loss(learner, np.arange(len(TEXTS)), 0.0))


@pytest.fixture
def recorded(bert: Path, tmp_path: Path) -> tuple[Network, Signals]:
    network = teacher(bert)
    wanted = Recording(2, (2, 4), 32)
    return network, signals.record(network, [split(TEXTS)], wanted, folder=tmp_path, progress=Silent())


def test_alpha_is_the_weight_of_the_teacher(recorded: tuple[Network, Signals]) -> None:
    network, kept = recorded
    only_teacher, only_labels, both = (objective(network, kept, list(CLASSES), alpha=a) for a in (1.0, 0.0, 0.3))
    assert both == pytest.approx(0.3 * only_teacher + 0.7 * only_labels, rel=1e-5)
    wrong = [1 - target for target in CLASSES]
    assert objective(network, kept, list(wrong), alpha=1.0) == pytest.approx(only_teacher)


def test_rows_without_a_label_have_no_label_term(recorded: tuple[Network, Signals]) -> None:
    network, kept = recorded
    half: list[float | None] = [target if place % 2 else None for place, target in enumerate(CLASSES)]
    labels = objective(network, kept, half, alpha=0.0)
    assert np.isfinite(labels)
    assert 0 < labels < objective(network, kept, list(CLASSES), alpha=0.0)
    assert objective(network, kept, half, alpha=1.0) == pytest.approx(
        objective(network, kept, list(CLASSES), alpha=1.0)
    )


def texts_of(network: Network, labelled: int, *, unlabelled: int) -> tuple[Any, ...]:
    """A transfer set of nothing but texts and labels."""
    count = labelled + unlabelled
    targets = np.array([0.0] * labelled + [np.nan] * unlabelled)
    keys = split(TEXTS[:count]).keys
    return network.tokenize(TEXTS[:count]), targets, "", keys, np.arange(count), np.zeros(count, dtype=bool)


def test_of_labels_alone_texts_without_a_label_change_nothing(bert: Path, tmp_path: Path) -> None:
    network = teacher(bert)
    wanted, found = Recording(network.task.width), {}
    # With R-Drop every text teaches that two passes must agree.
    plan, settings = Plan(), StudentRecipe(alpha=0.0, hidden=0.0, dropout=0.1, r_drop=1.0)
    both = distil.Transfer(*texts_of(network, 40, unlabelled=20))
    for given, count in ((settings, 60), (settings.model_copy(update={"r_drop": 0.0}), 40)):
        drawn = distil._batches(network, both, None, given, plan, 0)(0)  # type: ignore[arg-type]
        assert sorted(np.concatenate(drawn)) == [*range(count)]
    # Easy texts first, of those that teach something.
    easy = settings.model_copy(update={"r_drop": 0.0, "curriculum": "length"})
    drawn = np.concatenate(distil._batches(network, both, None, easy, plan, 0)(0))  # type: ignore[arg-type]
    assert len(drawn) == 40
    assert max(drawn) < 40
    labelled, others = split(TEXTS[:40], CLASSES[:40]), split(TEXTS[40:80], [None] * 40)
    for name, rows in {"few": [labelled], "all": [labelled, others]}.items():
        student = student_of(network, Shape(2, 16, 4, 32))
        recorded = signals.record(network, rows, wanted, folder=tmp_path / name, progress=Silent())
        transfer = distil.transfer_set(student, rows, recorded)
        settings = StudentRecipe(epochs=2, alpha=0.0, hidden=0.0, learning_rate=3e-3)
        more = {"seed": 0, "folder": tmp_path / name / "training", "progress": Silent()}
        distil.distil(student, transfer, recorded, labelled, settings, **more)
        found[name] = student.outputs(student.tokenize(TEXTS[:40]))
    np.testing.assert_array_equal(found["all"], found["few"])


def test_the_teachers_term_is_scaled_by_the_square_of_the_temperature(recorded: tuple[Network, Signals]) -> None:
    network, kept = recorded
    student = student_of(network, Shape(2, 32, 4, 32))
    ours = torch.from_numpy(student.outputs(student.tokenize(TEXTS)))
    theirs = torch.from_numpy(network.outputs(network.tokenize(TEXTS)))
    expected = -9 * ((theirs / 3).softmax(-1) * (ours / 3).log_softmax(-1)).sum()
    assert objective(network, kept, list(CLASSES), temperature=3.0) == pytest.approx(float(expected), rel=1e-4)


def test_a_regression_student_answers_in_the_users_unit(bert: Path, tmp_path: Path) -> None:
    """Ratings around 100 with a standard deviation of 20: a unit that no head has by chance."""
    ratings: list[float | None] = [100 + 10 * float(row["rating"]) for row in REVIEWS]
    rows = split(TEXTS, ratings)
    network = load.load(str(bert), TextRegression.fit(ratings), Reading(48))[0]
    settings = TeacherRecipe(epochs=25, learning_rate=3e-3, patience=None)
    supervised.fit_labels(
        network, rows, rows, settings, title="", seed=0, folder=tmp_path / "teacher", progress=Silent()
    )
    values = network.outputs(network.tokenize(TEXTS))[:, 0]
    assert values.mean() == pytest.approx(np.mean(rows.targets), abs=10)
    start = student_of(network, Shape(2, 32, 4, 32))
    assert abs(start.outputs(start.tokenize(TEXTS)).mean()) < 5  # in training units, not in the user's
    student, _ = taught(network, Shape(2, 32, 4, 32), tmp_path, ratings, epochs=25)
    ours = student.outputs(student.tokenize(TEXTS))[:, 0]
    assert np.corrcoef(ours, values)[0, 1] > 0.7
    assert ours.mean() == pytest.approx(values.mean(), abs=10)
