"""A goal instead of a shape: the cheapest student that reaches it, and the truth when none does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

import tiny_models
from listener import Listener
from tiny_recipe import recipe
from tutelage import cli, pipeline
from tutelage.artifacts.network import Network
from tutelage.climb import Climb
from tutelage.compress import cascade
from tutelage.errors import DataError, RecipeError
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe, load
from tutelage.recipe_matching import Stage
from tutelage.student import ladder


def test_an_easy_goal_takes_the_first_rung_and_is_not_searched_twice(reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = recipe(reviews, bert, tmp_path / "run", student={"keep": 0.3, "control": False})
    run = pipeline.run(given)
    search = run.measurements.search
    assert search is not None
    assert search.reached
    taken = [tried for tried in search.tried if tried.taken]
    assert [tried.name for tried in taken] == [search.tried[-1].name]
    assert taken[0].retention is not None
    assert taken[0].retention.low is not None
    assert taken[0].retention.low >= 0.3
    assert run.student.describe(run.bundle.limits.precision) == taken[0].describes
    texts = [row["text"] for row in tiny_models.reviews()[:20]]
    assert len(run.bundle.predict(texts)) == 20
    assert "found for" in (run.path / "report.html").read_text()
    assert {choice.what for choice in run.measurements.choices} >= {"export", "precision"}
    before = (run.path / "measurements.json").read_bytes()
    listener = Listener()
    pipeline.run(given, progress=listener)
    assert not [title for title in listener.done if "Distilling" in title or "Timing" in title]
    assert (run.path / "measurements.json").read_bytes() == before
    # Another goal judges anew, and tells of it, but trains nothing again.
    listener = Listener()
    other = pipeline.run({**given, "student": {**given["student"], "keep": 0.31}}, resume=True, progress=listener)
    assert not [title for title in listener.done if "Distilling" in title or "Fine-tuning" in title]
    assert other.measurements.search is not None
    assert other.measurements.search.keep == 0.31


def test_what_is_kept_beyond_the_goal_buys_speed(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cascade, "_LEAST_GAIN", 0.0)
    student = {"keep": 0.3, "control": False, "wide": True, "balance": "given"}
    given = recipe(reviews, bert, tmp_path / "run", student=student, compress={"quantize": "none"})
    run = pipeline.run(given)
    search = run.measurements.search
    assert search is not None
    (first, *others) = search.tried
    assert [tried.name for tried in others] == [f"{first.name}, cascade {loss}" for loss in (0.01, 0.02)]
    good = [tried for tried in search.tried if tried.within and tried.keeps]
    fastest = max(good, key=lambda tried: tried.rows_per_second or 0)
    assert [tried.name for tried in search.tried if tried.taken] == [fastest.name]
    assert (run.bundle.path / "model.onnx").stat().st_size > 0
    listener = Listener()
    (tmp_path / "run" / "measurements.json").unlink()
    again = pipeline.run(given, resume=True, progress=listener)
    assert again.measurements.search == search
    assert not [title for title in listener.done if "Distilling" in title or "Exporting the student" in title]
    never = pipeline.run({**given, "compress": {"quantize": "none", "cascade": False}}, resume=True)
    assert never.measurements.search is not None
    assert not [tried for tried in never.measurements.search.tried if "cascade" in tried.name]


def test_a_goal_out_of_reach_exits_with_3_and_the_best(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = recipe(reviews, bert, tmp_path / "run", student={"keep": 0.9, "max_mb": 0.001, "epochs": 1})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(given))
    monkeypatch.setattr(sys, "argv", ["tutelage", "run", str(tmp_path / "recipe.yaml")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == cli.GOAL_MISSED
    assert "goal was not reached" in capsys.readouterr().err
    search = json.loads((tmp_path / "run" / "measurements.json").read_text())["search"]
    assert not search["reached"]
    judged = [tried for tried in search["tried"] if tried["retention"]]
    assert max(judged, key=lambda tried: tried["retention"]["value"])["taken"]
    assert all("MB is more than" in tried["verdict"] for tried in judged)
    # Nothing was distilled where the teacher itself is taken: a control would compare it with nothing.
    taken = next(tried["name"] for tried in search["tried"] if tried["taken"])
    models = json.loads((tmp_path / "run" / "measurements.json").read_text())["models"]
    assert ("control" in models) == (taken != "whole")
    # The teacher itself needs no training, so that it is always judged; what time does not allow is named.
    assert "whole" in {tried["name"] for tried in judged}
    assert all(tried["verdict"].startswith("not tried") for tried in search["tried"] if not tried["retention"])


def test_the_rungs_are_distinct_and_end_with_the_teacher(bert: Path) -> None:
    from transformers import AutoConfig

    rungs = ladder.rungs(StudentRecipe(max_mb=5.0), AutoConfig.from_pretrained(bert))
    assert len({rung.shape for rung in rungs}) == len(rungs) >= 4
    assert [rung.name for rung in ladder.rungs(StudentRecipe(), AutoConfig.from_pretrained(bert))] == [
        rung.name for rung in rungs if rung.name != "narrow"
    ]
    assert [rung.name for rung in rungs if not rung.trains] == ["whole"]
    assert rungs[-1].shape.layers == 4
    shallow = AutoConfig.from_pretrained(bert, num_hidden_layers=1)
    assert [rung.name for rung in ladder.rungs(StudentRecipe(max_mb=5.0), shallow)] == ["narrow", "whole"]


@pytest.mark.parametrize(("share", "epochs"), [(0.8, 3), (0.5, 2), (0.49, None)])
def test_what_would_take_too_long_has_fewer_epochs_but_at_least_half(
    bert: Path, share: float, epochs: int | None
) -> None:
    from transformers import AutoConfig

    climb = Climb.__new__(Climb)
    climb.settings, climb._epochs = StudentRecipe(keep=0.9, epochs=4), {}
    rung = ladder.rungs(climb.settings, AutoConfig.from_pretrained(bert))[0]
    assert climb._shortened(rung, share) == (epochs is not None)
    assert climb._training(rung).epochs == (epochs or 4)
    climb.settings = climb.settings.model_copy(update={"stages": [Stage(epochs=1)]})
    assert not climb._shortened(rung, share)


def test_a_shape_that_cannot_fit_is_not_trained(reviews: Path, bert: Path, tmp_path: Path) -> None:
    """One of the teacher's layers and 800 embeddings have about 34,000 weights, two thinner layers 38,000."""
    student = {"max_mb": 0.036, "control": False, "epochs": 1, "vocabulary": "keep"}
    search = pipeline.run(recipe(reviews, bert, tmp_path / "run", student=student)).measurements.search
    assert search is not None
    verdicts = {tried.name: tried.verdict for tried in search.tried}
    assert "narrow" not in verdicts
    assert "MB is more than" in verdicts["one"]
    assert "its weights alone would take" in verdicts["two"]
    assert "its weights alone would take" in verdicts["half"]


def test_a_goal_and_a_shape_contradict_each_other(reviews: Path, bert: Path, tmp_path: Path) -> None:
    for student in ({"keep": 0.9, "layers": 2}, {"max_mb": 5.0, "size": "tiny"}):
        with pytest.raises(RecipeError, match="either a goal"):
            load(recipe(reviews, bert, tmp_path / "run", student=student))
    with pytest.raises(RecipeError, match=r"student\.keep"):
        load(recipe(reviews, bert, tmp_path / "run", student={"keep": 97.0}))
    nothing_aside = recipe(reviews, bert, tmp_path / "run", student={"keep": 0.9}, data={"judge_share": 0.0})
    with pytest.raises(DataError, match="give a share above 0"):
        pipeline.run(nothing_aside)


def test_signals_can_be_narrowed_to_some_layers(bert: Path, tmp_path: Path) -> None:
    from tutelage.artifacts.signals import Recording
    from tutelage.encoding import Reading
    from tutelage.tasks import TextClassification
    from tutelage.teacher import load as teachers
    from tutelage.teacher import signals

    network: Network = teachers.load(str(bert), TextClassification(("a", "b")), Reading(48))[0]
    from splits import split

    rows = split([row["text"] for row in tiny_models.reviews()[:30]])
    told = signals.record(network, [rows], Recording(2, (1, 2, 4), 32), folder=tmp_path, progress=Silent())
    places = told.find(rows.keys)
    everything = told.take(places, rows.keys)
    some = told.only((2, 4)).take(places, rows.keys)
    assert (some["hidden"] == everything["hidden"][:, 1:]).all()
    assert (some["outputs"] == everything["outputs"]).all()
    again = told.only((2, 4)).only((4,)).take(places, rows.keys)
    assert (again["hidden"] == everything["hidden"][:, 2:]).all()
    assert (told.outputs(places, rows.keys) == everything["outputs"]).all()
    assert told.only(()).take(places, rows.keys)["hidden"].shape == (30, 0, 0)
