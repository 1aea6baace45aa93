"""Of several teachers the one that teaches most is taken, whatever its own score."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

import tiny_models
from listener import Listener
from tiny_recipe import recipe
from tutelage import check, pipeline
from tutelage.errors import ModelError, RecipeError
from tutelage.folder import LOG, RunFolder
from tutelage.progress import Logged, Silent
from tutelage.recipe import load
from tutelage.teachers import Candidate, choose


def candidate(model: str, taught: float, score: float) -> Candidate:
    rows = np.random.default_rng(len(model)).normal(0, 0.1, 200)
    return Candidate(model, taught + rows - rows.mean(), np.full(200, 0.5), score)


def test_what_counts_is_what_was_taught() -> None:
    several = [candidate("a", 0.6, 0.95), candidate("bb", 0.4, 0.80), candidate("ccc", 0.5, 0.90)]
    best, choice = choose(several, "Accuracy")
    assert best == 1
    assert choice["taken"] == "bb"
    assert "a 0.6000 (itself 0.5000, accuracy 0.9500)" in choice["why"]
    assert "against ccc" in choice["why"]
    assert choice["figures"]["gain"] == pytest.approx(0.1)
    assert choice["figures"]["taught"] == pytest.approx([0.6, 0.4, 0.5])


def test_of_one_alone_nothing_is_said_of_others() -> None:
    best, choice = choose([candidate("a", 0.6, 0.95)], "Accuracy")
    assert best == 0
    assert choice["why"] == "there is no other; validation loss: a 0.5000 (accuracy 0.9500)"


@pytest.fixture
def other(tmp_path: Path, bert: Path, reviews: Path) -> Path:
    """A teacher for the same labels that has learned them the wrong way round."""
    given = load(recipe(reviews, bert, tmp_path / "made"))
    made = RunFolder.claim(given, resume=False)
    with made.locked():
        story = pipeline._Story(given, made, Logged(Silent(), made.path / LOG))
        story._workshop(story._data())
    folder = tmp_path / "wrong"
    shutil.copytree(made.teacher, folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.classifier.weight.mul_(-3)
        model.classifier.bias.mul_(-3)
    model.save_pretrained(folder)
    return folder


@pytest.mark.usefixtures("only_what_is_deployed")
def test_a_run_takes_the_teacher_that_teaches_most(bert: Path, reviews: Path, other: Path, tmp_path: Path) -> None:
    given = recipe(reviews, bert, tmp_path / "run", student={"control": False})
    del given["teacher"]["model"]
    given["teacher"]["models"] = [str(other), str(bert)]
    run = pipeline.run(given)
    told = next(choice for choice in run.measurements.choices if choice.what == "teacher")
    assert told.taken == str(bert)
    assert told.figures["taught"][1] < told.figures["taught"][0]
    assert "teacher 1" in run.measurements.times
    # What the one that was taken learned is the report's.
    assert run.measurements.history["teacher"]
    kept = (run.path / ".tutelage" / "teachers" / "2" / "model.safetensors").read_bytes()
    assert (run.path / "teacher" / "model.safetensors").read_bytes() == kept
    assert len(run.student.predict([row["text"] for row in tiny_models.reviews()[:3]])) == 3

    listener = Listener()
    pipeline.run({**given, "evaluate": {"resamples": 200}}, resume=True, progress=listener)
    assert listener.done
    assert not [title for title in listener.done if "teacher" in title.lower() and "export" not in title.lower()]


def test_what_the_one_that_is_taken_took_counts_once(bert: Path, reviews: Path, tmp_path: Path) -> None:
    given = recipe(reviews, bert, tmp_path / "run", teacher={"candidates": "epochs", "epochs": 2})
    folder = RunFolder.claim(load(given), resume=False)

    def made() -> None:
        with folder.locked():
            story = pipeline._Story(load(given), folder, Logged(Silent(), folder.path / LOG))
            story._workshop(story._data())

    made()
    # As if the training had taken long, and the epochs were to be compared again.
    record = folder._records()["teacher epochs"]
    folder.finish("teacher epochs", record["fingerprint"], started=time.monotonic() - 1000, **record["kept"])
    folder.finish("teacher", "something else", started=time.monotonic())
    made()
    assert folder.times()["teacher"] < 500
    assert folder.teaching() > 1000


def test_one_that_does_not_exist_is_refused_before_any_is_trained(bert: Path, reviews: Path, tmp_path: Path) -> None:
    given = recipe(reviews, bert, tmp_path / "run")
    del given["teacher"]["model"]
    given["teacher"]["models"] = [str(bert), str(tmp_path / "nothing")]
    for start in (pipeline.run, check.check):
        with pytest.raises(ModelError, match="nothing does not exist"):
            start(given)
    assert not (tmp_path / "run" / ".tutelage" / "teachers").exists()


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ({"model": "a", "models": ["b", "c"]}, "either `model` or `models`"),
        ({"models": ["b", "b"]}, "names a model twice"),
        ({"models": ["b"]}, "at least 2"),
        ({"combine": "all"}, "`combine: all` would do nothing without `models`"),
        ({"candidates": "epochs", "models": ["b", "c"]}, "either `models` or `candidates: epochs`"),
        ({"candidates": "epochs", "epochs": 1}, "two at least"),
        ({"candidates": "epochs", "strategy": "few-shot"}, "whose head is fitted at the end"),
        ({"candidates": "epochs", "strategy": "adalora"}, "switches directions off"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(teacher: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load({"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", "teacher": teacher})
