"""Students trained with every loss, and that the recipe's choice is what they are trained with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network, forward
from tutelage.artifacts.signals import Recording, Signals
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.student import distil, initialise, matching
from tutelage.student.build import Shape
from tutelage.student.losses import HIDDEN_LOSSES, LOSSES
from tutelage.tasks import TextClassification
from tutelage.teacher import load, signals
from tutelage.training import checkpoint

REVIEWS = tiny_models.reviews()[::5]
TEXTS = [row["text"] for row in REVIEWS]
LABELS = [float(row["label"] == "positive") for row in REVIEWS]
ROWS = split(TEXTS, [*LABELS[:-10], *[None] * 10])
TASK = TextClassification(("bad", "good", "neither"))
SCORES = [name for name, entry in LOSSES.items() if entry.outputs == "scores"]
SAME, NARROW = Shape(2, 32, 4, 32), Shape(2, 16, 4, 32)


@pytest.fixture(scope="module")
def teacher(bert: Path) -> Network:
    """A teacher whose logits have mean 0 and standard deviation 2, so that each class is the first of some texts."""
    torch.manual_seed(0)
    network = load.load(str(bert), TASK, Reading(32))[0]
    with torch.no_grad():
        spread = torch.from_numpy(network.outputs(network.tokenize(TEXTS)).std(0))
        network.model.classifier.weight.mul_(2 / spread[:, None])
        network.model.classifier.bias -= torch.from_numpy(network.outputs(network.tokenize(TEXTS)).mean(0))
    assert (np.bincount(network.outputs(network.tokenize(TEXTS)).argmax(1)) > 20).all()
    return network


@pytest.fixture(scope="module")
def recorded(teacher: Network, tmp_path_factory: pytest.TempPathFactory) -> Signals:
    folder = tmp_path_factory.mktemp("signals")
    return signals.record(teacher, [ROWS], Recording(3, (2, 4), 32), folder=folder, progress=Silent())


def student_of(teacher: Network, shape: Shape) -> Network:
    words = vocabulary.keep(teacher.tokenizer)
    return initialise.create(teacher, shape, tokenizer=words.tokenizer, kept=words.kept, seed=0)


def recipe(**changes: Any) -> StudentRecipe:
    return StudentRecipe.model_validate(
        {"epochs": 8, "learning_rate": 5e-3, "batch_size": 16, "patience": None, **changes}
    )


def taught(
    teacher: Network, recorded: Signals, folder: Path, rows: Split = ROWS, **changes: Any
) -> tuple[Network, list[dict[str, float]]]:
    """A student, the best by how often it says what the teacher says, and the history of its training."""
    student = student_of(teacher, NARROW)
    judge = split(TEXTS, said(teacher)[0].argmax(1).double().tolist(), "validation")
    transfer = distil.transfer_set(student, [rows], recorded)
    state = distil.distil(
        student, transfer, recorded, judge, recipe(**changes), seed=0, folder=folder, progress=Silent()
    )
    return student, state.history


def said(network: Network) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs (N, 3) and hidden states (N, 2, width): those of layers 1 and 2 of a student, 2 and 4 of the teacher."""
    depth = network.model.config.num_hidden_layers
    layers = (depth // 2, depth)
    batch = network.collate(network.tokenize(TEXTS), np.arange(len(TEXTS)))
    with torch.inference_mode():
        return forward(network.model.eval(), batch, layers=layers)


def objective(teacher: Network, recorded: Signals, done: float = 0.0, **changes: Any) -> float:
    """What the loop would be told to lower, for all rows at once."""
    student, settings = student_of(teacher, SAME), recipe(**changes)
    transfer = distil.transfer_set(student, [ROWS], recorded)
    plan = matching.of_recorded(recorded.recording).of(settings)
    learner = distil.Learner(student.model, plan, width=SAME.width, teacher_width=SAME.width)
    loss = distil._loss(student, transfer, recorded, settings, plan)
    with torch.inference_mode():
        return float(loss(learner, np.arange(len(TEXTS)), done))


# --- what is chosen is what is used --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORES)
def test_the_chosen_loss_follows_the_outputs(name: str, teacher: Network, recorded: Signals) -> None:
    ours, theirs = said(student_of(teacher, SAME))[0], said(teacher)[0]
    targets = torch.from_numpy(ROWS.targets).float()
    expected = 4 * LOSSES[name].compute(ours, theirs, targets, 2.0).sum()
    found = objective(teacher, recorded, hidden=0.0, loss=name, temperature=2.0)
    assert found == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("name", HIDDEN_LOSSES)
def test_the_chosen_loss_follows_the_hidden_states(name: str, teacher: Network, recorded: Signals) -> None:
    ours, theirs = said(student_of(teacher, SAME))[1], said(teacher)[1]
    expected = 3 * HIDDEN_LOSSES[name].compute(ours, theirs.half().float()).sum()
    with_states = objective(teacher, recorded, hidden=3.0, hidden_loss=name)
    assert with_states - objective(teacher, recorded, hidden=0.0) == pytest.approx(float(expected), rel=2e-3, abs=1e-2)


def test_alpha_falls_with_what_is_done(teacher: Network, recorded: Signals) -> None:
    told, labels = (objective(teacher, recorded, hidden=0.0, alpha=alpha) for alpha in (1.0, 0.0))
    for done in (0.0, 0.3, 1.0):
        found = objective(teacher, recorded, hidden=0.0, alpha_schedule="linear", done=done)
        assert found == pytest.approx((1 - done) * told + done * labels, rel=1e-4)


# --- training ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORES)
def test_a_student_comes_to_agree_with_its_teacher_by_any_loss(
    name: str, teacher: Network, recorded: Signals, tmp_path: Path
) -> None:
    theirs = said(teacher)[0].argmax(1)
    student, _ = taught(teacher, recorded, tmp_path, hidden=0.0, loss=name, epochs=25, learning_rate=1e-2)
    start, end = ((said(one)[0].argmax(1) == theirs).float().mean() for one in (student_of(teacher, NARROW), student))
    # The three classes are about equally frequent; one standard error of a share of these rows is 0.05.
    assert start < 0.5
    assert end > start + 0.2


@pytest.mark.parametrize("name", HIDDEN_LOSSES)
def test_a_narrow_students_states_come_nearer_by_any_loss(
    name: str, teacher: Network, recorded: Signals, tmp_path: Path
) -> None:
    """With nothing else to learn from: no labels, and no weight for the teacher's outputs."""
    unlabelled = split(TEXTS, [None] * len(TEXTS))
    student, history = taught(teacher, recorded, tmp_path, unlabelled, alpha=0.0, hidden_loss=name)
    assert history[-1]["loss"] < 0.85 * history[0]["loss"]
    assert np.isfinite(student.outputs(student.tokenize(TEXTS))).all()


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What distillation hands to the loop."""
    seen: list[Any] = []
    train = distil.train

    def spy(learner: Any, work: Any, *rest: Any, **more: Any) -> checkpoint.State:
        seen.extend([learner, work])
        return train(learner, work, *rest, **more)

    monkeypatch.setattr(distil, "train", spy)
    return seen


@pytest.mark.parametrize("name", HIDDEN_LOSSES)
def test_states_are_mapped_to_the_teachers_width_only_where_they_must_be(
    name: str, teacher: Network, recorded: Signals, tmp_path: Path, handed: list[Any]
) -> None:
    taught(teacher, recorded, tmp_path, epochs=1, hidden_loss=name)
    mapped = [isinstance(bridge, torch.nn.Linear) for bridge in handed[0].bridges]
    assert mapped == [HIDDEN_LOSSES[name].needs_same_width] * 2


def test_the_loop_is_told_when_rows_are_compared(
    teacher: Network, recorded: Signals, tmp_path: Path, handed: list[Any]
) -> None:
    choices: list[tuple[dict[str, Any], bool]] = [
        ({}, False),
        ({"loss": "dist"}, True),
        ({"hidden_loss": "relational"}, True),
        ({"hidden_loss": "relational", "hidden": 0.0}, False),
    ]
    for number, (changes, expected) in enumerate(choices):
        taught(teacher, recorded, tmp_path / str(number), epochs=1, **changes)
        assert handed[-1].compares_rows is expected


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def test_killed_and_resumed_a_schedule_ends_in_the_same_weights(
    teacher: Network, recorded: Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"epochs": 2, "alpha_schedule": "cosine", "checkpoint_minutes": 1e-9}
    whole, history = taught(teacher, recorded, tmp_path / "whole", **settings)
    plain, _ = taught(teacher, recorded, tmp_path / "plain", **{**settings, "alpha_schedule": "constant"})
    calls, save = iter(range(1000)), checkpoint.save

    def cut(*rest: Any, **more: Any) -> None:
        save(*rest, **more)
        if next(calls) == 3:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", cut)
        with pytest.raises(Killed):
            taught(teacher, recorded, tmp_path / "cut", **settings)
    state = json.loads((max((tmp_path / "cut").glob("step-*")) / "state.json").read_text())
    assert 0 < state["step"] < 12
    again, resumed = taught(teacher, recorded, tmp_path / "cut", **settings)

    def same(one: Network, other: Network) -> bool:
        pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
        return all(torch.equal(a, b) for a, b in pairs)

    assert same(whole, again)
    assert history == resumed
    assert not same(whole, plain)
