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
from tutelage.candidates import Candidate, choose, named
from tutelage.errors import ModelError, RecipeError
from tutelage.folder import LOG, RunFolder
from tutelage.progress import Logged, Silent
from tutelage.recipe import load
from tutelage.student.gradients import Spread
from tutelage.tasks.base import Metric

SCORE = Metric("accuracy", "Accuracy", lambda _, __: 0.0)
ERROR = Metric("mae", "Mean absolute error", lambda _, __: 0.0, higher_is_better=False)


def candidate(model: str, taught: float, score: float, *, loss: float = 0.5, grace: float | None = None) -> Candidate:
    chance = np.random.default_rng(len(model))
    rows = chance.normal(0, 0.1, (2, 200))
    rows -= rows.mean(1, keepdims=True)
    spread = None if grace is None else Spread(grace, grace, grace)
    return Candidate(model, loss + rows[0], score, taught + rows[1], spread)


def test_what_counts_is_what_was_taught() -> None:
    several = [candidate("a", 0.6, 0.95), candidate("bb", 0.4, 0.80), candidate("ccc", 0.5, 0.90)]
    best, choice = choose(several, SCORE)
    assert best == 1
    assert choice["taken"] == "bb"
    assert "a 0.6000 (itself 0.5000, accuracy 0.9500)" in choice["why"]
    assert "against ccc" in choice["why"]
    assert choice["figures"]["gain"] == pytest.approx(0.1)
    assert choice["figures"]["taught"] == pytest.approx([0.6, 0.4, 0.5])


def test_of_one_alone_nothing_is_said_of_others() -> None:
    best, choice = choose([candidate("a", 0.6, 0.95)], SCORE)
    assert best == 0
    assert choice["why"] == "there is no other; validation loss: a 0.5000 (taught 0.6000, accuracy 0.9500)"


def test_something_else_decides_where_the_recipe_says_so() -> None:
    several = [
        candidate("a", 0.6, 0.95, loss=0.385, grace=30.0),
        candidate("bb", 0.4, 0.80, loss=0.38, grace=40.0),
        # It hardly says anything, so that there is little to learn.
        candidate("ccc", 0.5, 0.60, loss=0.70, grace=1.0),
    ]
    taken = {by: choose(several, SCORE, by)[0] for by in ("taught", "loss", "score", "gradients")}
    assert taken == {"taught": 1, "loss": 1, "score": 0, "gradients": 0}
    assert choose(several, ERROR, "score")[0] == 2
    _, choice = choose(several, SCORE, "gradients")
    assert "a 30.0000 (taught 0.6000, itself 0.3850, accuracy 0.9500)" in choice["why"]
    assert choice["figures"]["gradients"] == [30.0, 40.0, 1.0]
    # Whatever decides else, those that speak together are led by the one of least loss.
    assert choose(several, SCORE, "gradients", together=True)[0] == 1


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


@pytest.mark.usefixtures("only_what_is_deployed")
def test_only_of_the_teacher_that_is_taken_it_is_said_that_it_missed_its_level(
    bert: Path, reviews: Path, other: Path, tmp_path: Path
) -> None:
    teacher = {"models": [str(bert), str(other)], "until": {"f1": 1.0}, "epochs": 1}
    given = recipe(reviews, bert, tmp_path / "run", student={"control": False}, teacher=teacher)
    del given["teacher"]["model"]
    for _ in range(2):
        listener = Listener()
        found = pipeline.run(given, resume=True, progress=listener).measurements
        (told,) = [warning for warning in listener.warned if "`until`" in warning]
        assert told in found.warnings
        # Measured anew, from the teacher that is there.
        (tmp_path / "run" / "measurements.json").unlink()


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


def test_gradients_of_the_student_decide_only_where_asked(
    bert: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutelage.student.gradients._TEXTS", 40)
    given = recipe(reviews, bert, tmp_path / "run", teacher={"candidates": "epochs", "choose_by": "gradients"})
    asked = load(given)
    folder = RunFolder.claim(asked, resume=False)
    with folder.locked():
        story = pipeline._Story(asked, folder, Logged(Silent(), folder.path / LOG))
        story._workshop(story._data())
    (choice,) = (one for one in folder.choices() if one["what"] == "teacher")
    found = choice["figures"]["gradients"]
    assert len(found) == 2
    assert min(found) > 0
    assert "GRACE" in choice["why"]

    def name(**changes: dict) -> list:
        return named(load(recipe(reviews, bert, tmp_path / "run", **changes)))

    # Another student has other gradients; whatever else decides does not look at it.
    assert name(teacher={"models": ["b", "c"], "model": "minilm"}) == ["best of"]
    assert name(student={"layers": 1}, teacher=given["teacher"]) != named(asked)
    plain = {**given["teacher"], "choose_by": "loss"}
    assert name(student={"layers": 1}, teacher=plain) == name(teacher=plain) == ["epochs", "best of", "loss"]
    assert "choose_by" not in asked.teacher.identity()


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
        ({"choose_by": "gradients"}, "`choose_by: gradients` would do nothing"),
        ({"choose_by": "pilots"}, "`choose_by: pilots` would do nothing"),
        ({"models": ["b", "c"], "combine": "all", "choose_by": "loss"}, "`choose_by: loss` would do nothing"),
        ({"candidates": "epochs", "strategy": "few-shot"}, "whose head is fitted at the end"),
        ({"candidates": "epochs", "strategy": "adalora"}, "switches directions off"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(teacher: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load({"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", "teacher": teacher})
