"""Whole trainings with every regulariser: they learn, resume bit for bit, and fit strategies and students."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tiny_training import Killed, killed_at
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.recipe_training import LabelRecipe, TrainingRecipe
from tutelage.student import distil, initialise
from tutelage.student.build import Shape
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import fine_tune, load, signals
from tutelage.training import loop, regular
from tutelage.training.loop import set_dropout

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "regularisation.md"
ROWS = tiny_models.reviews()[::5]
TEXTS = [row["text"] for row in ROWS]
CLASSES = TextClassification(("negative", "positive"))
LABELS = [float(row["label"] == "positive") for row in ROWS]
RATINGS = [100 + 10 * float(row["rating"]) for row in ROWS]

STRENGTHS: dict[str, dict[str, Any]] = {
    "label_smoothing": {"label_smoothing": 0.1},
    "focal": {"focal": 2.0},
    "class_weights": {"class_weights": "balanced"},
    "mixup": {"mixup": 0.3},
    "r_drop": {"r_drop": 0.5, "dropout": 0.1},
    "fgm": {"fgm": 0.3},
    "freelb": {"freelb": 0.3},
    "l1": {"l1": 1e-5},
    "ema": {"ema": 0.9},
    "swa": {"swa": 0.99},  # from the first step on, whichever epoch is the best
}
PASSES_AND_WEIGHTS = [*regular.PASSES, *regular.WEIGHTS]


def corpus(task: Task = CLASSES) -> Corpus:
    targets = LABELS if task is CLASSES else RATINGS
    splits = {"train": split(TEXTS[:64], targets[:64]), "validation": split(TEXTS[64:], targets[64:], "validation")}
    return Corpus(Path("nowhere"), task, splits, "a corpus in memory", {})


def taught(model: Path, folder: Path, task: Task = CLASSES, **changes: Any) -> tuple[Network, list[dict[str, float]]]:
    asked = {"epochs": 3, "batch_size": 16, "learning_rate": 3e-3, "patience": None, "checkpoint_minutes": 1e-9}
    torch.manual_seed(0)
    network = load.load(str(model), task, Reading(32))[0]
    recipe = TeacherRecipe.model_validate({**asked, **changes})
    history = fine_tune.fine_tune(network, corpus(task), recipe, fitted=False, seed=0, folder=folder, progress=Silent())
    return network, history


def same(one: Network, other: Network) -> bool:
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def cut_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop._Training, "_step", killed_at(step, loop._Training._step))


# --- the tables --------------------------------------------------------------------------------------------------


def test_the_tables_and_the_recipe_name_the_same() -> None:
    for recipe, names in ((TrainingRecipe, PASSES_AND_WEIGHTS), (LabelRecipe, [*regular.LABELS])):
        assert set(names) <= set(recipe.model_fields)
    assert set(STRENGTHS) == {*PASSES_AND_WEIGHTS, *regular.LABELS}


def test_all_are_off_by_default() -> None:
    made = TeacherRecipe()
    assert not any(getattr(made, name) for name in STRENGTHS)


def test_the_guide_tells_of_every_one() -> None:
    text = GUIDE.read_text("utf-8")
    assert [name for name in STRENGTHS if f"| `{name}` |" not in text] == []


# --- teachers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_teacher_learns_with_it_and_resumes_bit_for_bit(
    name: str, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = STRENGTHS[name]
    whole, history = taught(bert, tmp_path / "whole", **asked)
    assert history[-1]["loss"] < history[0]["loss"]
    plain, _ = taught(bert, tmp_path / "plain", dropout=asked.get("dropout", 0.0))
    assert not same(whole, plain)
    with monkeypatch.context() as patched:
        cut_at(6, patched)
        with pytest.raises(Killed):
            taught(bert, tmp_path / "cut", **asked)
    again, found = taught(bert, tmp_path / "cut", **asked)
    assert same(whole, again)
    assert found == history


@pytest.mark.parametrize("name", ["mixup", *PASSES_AND_WEIGHTS])
def test_values_can_be_regularised_too(name: str, bert: Path, tmp_path: Path) -> None:
    network, history = taught(bert, tmp_path, TextRegression.fit(RATINGS), **STRENGTHS[name])
    assert history[-1]["loss"] < history[0]["loss"]
    mean = float(network.outputs(network.tokenize(TEXTS)).mean())
    assert abs(mean - np.mean(RATINGS)) < np.std(RATINGS)


@pytest.mark.parametrize(
    ("strategy", "asked"),
    [
        ("head", "fgm"),
        ("head", "ema"),
        ("gradual", "ema"),
        ("gradual", "freelb"),
        ("lora", "swa"),
        ("lora", "fgm"),
        ("adalora", "l1"),
        ("adapter", "r_drop"),
    ],
)
def test_strategies_and_regularisers_go_together(strategy: str, asked: str, bert: Path, tmp_path: Path) -> None:
    network, history = taught(bert, tmp_path, strategy=strategy, **STRENGTHS[asked])
    assert history[-1]["loss"] < history[0]["loss"] * 1.05
    assert all(value.isfinite().all() for value in network.model.parameters())
    network.save(tmp_path / "teacher")
    plain = Network.load(tmp_path / "teacher", CLASSES, Reading(32))
    tokens = network.tokenize(TEXTS[:8])
    torch.testing.assert_close(torch.tensor(plain.outputs(tokens)), torch.tensor(network.outputs(tokens)))


def test_frozen_layers_are_computed_anew_where_tokens_are_moved(bert: Path, tmp_path: Path) -> None:
    for name, kept in (("fgm", False), ("ema", True)):
        folder = tmp_path / name
        taught(bert, folder, strategy="head", **STRENGTHS[name])
        assert (folder / "frozen").exists() is kept


# --- students ----------------------------------------------------------------------------------------------------


def distilled(bert: Path, folder: Path, **changes: Any) -> tuple[Network, list[dict[str, float]]]:
    torch.manual_seed(0)
    teacher = load.load(str(bert), CLASSES, Reading(32))[0]
    with torch.no_grad():
        teacher.model.classifier.weight.mul_(300)
    words = vocabulary.trim(teacher.tokenizer, [teacher.tokenize(TEXTS)])
    student = initialise.create(teacher, Shape(2, 16, 4, 32), tokenizer=words.tokenizer, kept=words.kept, seed=0)
    set_dropout(student.model, 0.0)
    rows = split(TEXTS, LABELS)
    told = signals.record(teacher, [rows], Recording(2, (2, 4), 32), folder=folder / "signals", progress=Silent())
    recipe = StudentRecipe.model_validate(
        {"epochs": 3, "learning_rate": 3e-3, "patience": None, "checkpoint_minutes": 1e-9, **changes}
    )
    state = distil.distil(
        student,
        distil.transfer_set(student, [rows], told),
        told,
        rows,
        recipe,
        seed=0,
        folder=folder / "training",
        progress=Silent(),
    )
    return student, state.history


@pytest.mark.parametrize("name", PASSES_AND_WEIGHTS)
def test_a_student_learns_with_it_and_resumes_bit_for_bit(
    name: str, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The maps of its hidden states learn too, and are averaged with it."""
    asked = STRENGTHS[name]
    whole, history = distilled(bert, tmp_path / "whole", **asked)
    assert history[-1]["loss"] < history[0]["loss"]
    plain, _ = distilled(bert, tmp_path / "plain", dropout=asked.get("dropout", 0.0))
    assert not same(whole, plain)
    with monkeypatch.context() as patched:
        cut_at(7, patched)
        with pytest.raises(Killed):
            distilled(bert, tmp_path / "cut", **asked)
    again, found = distilled(bert, tmp_path / "cut", **asked)
    assert same(whole, again)
    assert found == history
