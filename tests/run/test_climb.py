"""A goal instead of a shape: the cheapest student that reaches it, and the truth when none does."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import yaml

import tiny_models
from listener import Listener
from tiny_recipe import recipe
from tutelage import cli, climb, outlay, pipeline, storage, trial
from tutelage.artifacts.network import Network
from tutelage.budget import Estimate, Spent
from tutelage.climb import Climb
from tutelage.compress import cascade, compare
from tutelage.errors import DataError, ModelError, RecipeError, TrainingError
from tutelage.evaluate import speed
from tutelage.evaluate.intervals import Bootstrap
from tutelage.evaluate.speed import Contender, Speed, Timed
from tutelage.folder import RunFolder
from tutelage.made import Bench, Made
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe, load
from tutelage.recipe_matching import Stage
from tutelage.student import ladder
from tutelage.student.build import Shape
from tutelage.student.ladder import Step
from tutelage.tasks import TextClassification
from tutelage.training import guard, hope
from tutelage.trial import Judge, Surely
from tutelage.workshop import Workshop

LAYERS = ["one", "two", "half", "whole"]


def test_an_easy_goal_takes_the_first_rung_and_is_not_searched_twice(reviews: Path, bert: Path, tmp_path: Path) -> None:
    # One rung: which of several is the fastest may change when tiny ones are timed anew.
    student = {"keep": 0.3, "control": False, "rungs": ["one"]}
    given = recipe(reviews, bert, tmp_path / "run", student=student)
    run = pipeline.run(given)
    search = run.measurements.search
    assert search is not None
    assert search.reached
    taken = [tried for tried in search.tried if tried.taken]
    assert [tried.name for tried in taken] == [search.tried[-1].name]
    assert taken[0].retention is not None
    assert taken[0].retention.low is not None
    assert taken[0].retention.low >= 0.3
    # There is no other: what is sure of all together is the lower end of its interval. Right on the same few rows, it
    # is less.
    assert taken[0].surely is not None
    if taken[0].retention.low < 1:
        assert taken[0].surely == pytest.approx(taken[0].retention.low)
    else:
        assert 0.9 < taken[0].surely < 1
    # The card, which only a finished run has, is counted.
    assert taken[0].bytes is not None
    assert storage.size_of(run.bundle.path) <= taken[0].bytes < storage.size_of(run.bundle.path) + 5000
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


def test_a_student_that_errs_on_the_same_few_rows_is_not_sure_to_keep_everything() -> None:
    metric, targets = TextClassification(labels=("no", "yes")).headline, np.array([0.0] * 18 + [1.0] * 2)
    bootstrap = Bootstrap(20, resamples=60, confidence=0.6, seed=0)
    both = bootstrap.scores((metric,), np.tile([1.0, 0.0], (20, 1)), targets)[metric.name]
    low = Surely(0.8, 4, 20).low(both, both)
    assert low == pytest.approx(1 - (1 - 0.05 ** (1 / 20)) / 0.9)
    assert low < 0.97
    # Nor is one that is right on one row more.
    one_more = np.tile([1.0, 0.0], (20, 1))
    one_more[-1] = [0.0, 1.0]
    better = bootstrap.scores((metric,), one_more, targets)[metric.name]
    assert Surely(0.8, 4, 20).low(better, both) == pytest.approx(low)
    # Nor one that is right on so many more that hardly a resample misses all of them.
    wrong = np.concatenate([np.zeros(16), np.ones(4)])
    teacher, more = (
        bootstrap.scores((metric,), np.stack([1 - said, said], axis=1), wrong)[metric.name]
        for said in (np.zeros(20), np.concatenate([np.zeros(16), np.ones(3), np.zeros(1)]))
    )
    assert Surely(0.8, 4, 20).low(more, teacher) < 1.0
    # The teacher's own layers answer as it does, whatever the rows.
    assert Surely(0.8, 4, 20).low(both, both, itself=True) == 1.0


def test_what_is_missing_by_less_than_is_shown_is_told_as_such() -> None:
    judge = Judge.__new__(Judge)
    judge.settings = StudentRecipe(keep=0.97)
    told = [judge._verdict(low, 1.0, 1)[2] for low in (0.96, 0.96999, 0.97)]
    assert told == ["it surely keeps 96.0 %, not 97.0 %", "it surely keeps a little less, not 97.0 %", "good enough"]


def test_of_students_that_keep_no_more_than_was_asked_for_hardly_any_search_is_sure() -> None:
    """Four students that keep exactly 90 %, on the same 400 rows: at 80 %, one in five searches may be sure of one."""
    metric = TextClassification(labels=("no", "yes")).headline
    chance, rows, students, searches = np.random.default_rng(0), 400, 4, 50
    sure = {1: 0, students: 0}
    for search in range(searches):
        targets = np.zeros(rows)
        right = [chance.random(rows) < share for share in (0.8, *[0.8 * 0.9] * students)]
        said = [np.stack([mine, ~mine], axis=1).astype(float) for mine in right]
        bootstrap = Bootstrap(rows, resamples=60, confidence=0.6, seed=search)
        teacher, *others = [bootstrap.scores((metric,), one, targets)[metric.name] for one in said]
        for counted in sure:
            sure[counted] += any(Surely(0.8, counted, rows).low(one, teacher) >= 0.9 for one in others)
        # Of one alone it is the lower end of its interval.
        assert Surely(0.8, 1, rows).low(others[0], teacher) == pytest.approx(bootstrap.ratio(others[0], teacher).low)
    assert sure[students] <= 0.2 * searches
    # Each by itself would be: about three searches of five.
    assert sure[1] > 0.35 * searches


def test_what_is_kept_beyond_the_goal_buys_speed(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cascade, "_LEAST_GAIN", 0.0)
    student = {"keep": 0.3, "control": False, "wide": True, "balance": "given", "rungs": LAYERS}
    given = recipe(reviews, bert, tmp_path / "run", student=student, compress={"quantize": "none"})
    run = pipeline.run(given)
    search = run.measurements.search
    assert search is not None
    (first, *others) = search.tried
    # Four may be looked at.
    assert first.surely is not None
    assert first.retention is not None
    assert 0.3 <= first.surely < (first.retention.low or 0.0)
    assert [tried.name for tried in others] == [f"{first.name}, cascade {loss}" for loss in (0.01, 0.02)]
    # Every cascade counts, also one that did not pay.
    times = run.measurements.times
    made = [seconds for stage, seconds in times.items() if stage.startswith((f"student {first.name}", "compress "))]
    assert len(made) == 4
    assert search.seconds == pytest.approx(sum(seconds or 0.0 for seconds in made), abs=0.06)
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
    best = max(judged, key=lambda tried: tried["retention"]["value"])
    near = [tried for tried in judged if tried["retention"]["value"] >= best["retention"]["low"]]
    assert [tried["name"] for tried in judged if tried["taken"]] == [near[-1]["name"]]
    assert all("MB is more than" in tried["verdict"] for tried in judged)
    # Nothing was distilled where the teacher itself is taken: a control would compare it with nothing.
    taken = next(tried["name"] for tried in search["tried"] if tried["taken"])
    models = json.loads((tmp_path / "run" / "measurements.json").read_text())["models"]
    assert ("control" in models) == (taken not in {"linear", "whole"})
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
    assert [rung.name for rung in rungs if not rung.trains] == ["linear", "whole"]
    assert rungs[-1].shape.layers == 4
    shallow = AutoConfig.from_pretrained(bert, num_hidden_layers=1)
    assert [rung.name for rung in ladder.rungs(StudentRecipe(max_mb=5.0), shallow)] == ["linear", "narrow", "whole"]
    # A linear student is a wide part: none where there shall be none, or where its table would be too large.
    many = AutoConfig.from_pretrained(bert, num_labels=6000)
    for settings, config in ((StudentRecipe(max_mb=5.0, wide=False), shallow), (StudentRecipe(max_mb=5.0), many)):
        assert "linear" not in [rung.name for rung in ladder.rungs(settings, config)]
    some = ladder.rungs(StudentRecipe(keep=0.9, rungs=["two", "narrow"]), AutoConfig.from_pretrained(bert))
    assert [rung.name for rung in some] == ["narrow", "two"]


def test_rungs_that_a_teacher_has_not_are_refused_before_it_is_trained(
    reviews: Path, bert: Path, tmp_path: Path
) -> None:
    student = {"keep": 0.9, "rungs": ["linear"], "wide": False}
    listener = Listener()
    with pytest.raises(ModelError, match="no such rung"):
        pipeline.run(recipe(reviews, bert, tmp_path / "run", student=student), progress=listener)
    assert not [title for title in listener.done if "Fine-tuning" in title]


@pytest.mark.usefixtures("only_what_is_deployed")
def test_rungs_that_a_teacher_has_not_are_refused_where_it_is_there_already(
    reviews: Path, bert: Path, tmp_path: Path
) -> None:
    given = recipe(reviews, bert, tmp_path / "run", student={"keep": 0.3, "control": False, "rungs": ["linear"]})
    pipeline.run(given)
    student = {**given["student"], "wide": False}
    with pytest.raises(ModelError, match="no such rung"):
        pipeline.run({**given, "student": student}, resume=True)


@pytest.mark.parametrize(("seconds", "epochs"), [(45.0, 4), (44.9, 3), (25.0, 2), (24.9, None)])
def test_what_would_take_too_long_has_as_many_epochs_as_fit_but_at_least_half(
    bert: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, epochs: int | None
) -> None:
    """The first took 10 s for 2 of 4 epochs and 5 s besides; the second costs twice as much to pass over."""
    from transformers import AutoConfig

    climb = Climb.__new__(Climb)
    climb.workshop = cast(Workshop, None)
    climb.settings, climb._epochs = StudentRecipe(keep=0.9, epochs=4, rungs=["one", "two"]), {}
    climb._again = False
    first, second = ladder.rungs(climb.settings, AutoConfig.from_pretrained(bert))
    steps = [Step(first, 1.0, 1.0), Step(second, 1.1, 2.0)]
    monkeypatch.setattr(climb, "_took", lambda step: Spent(10.0, 2, 5.0, step.learning))
    monkeypatch.setattr(climb, "_spent", lambda _: 15.0)
    assert not climb._why_not(steps[0], steps, [], 0.0)
    why_not = climb._why_not(steps[1], steps, steps[:1], 15.0 + seconds)
    assert why_not.startswith("it would take about 45 s") == (epochs is None)
    assert climb._training(second).epochs == (epochs or 4)
    climb._epochs, climb.settings = {}, climb.settings.model_copy(update={"stages": [Stage(epochs=4)]})
    assert bool(climb._why_not(steps[1], steps, steps[:1], 15.0 + seconds)) == (epochs != 4)


def test_a_training_that_fails_again_after_a_kill_costs_what_it_cost_at_first(tmp_path: Path) -> None:
    (tmp_path / ".tutelage").mkdir()
    bench = Bench(tmp_path / "student", tmp_path / "export", "student two", "compress two")
    assert outlay.lost(RunFolder(tmp_path), bench, "name", time.monotonic() - 60) == pytest.approx(60, abs=1)
    again = RunFolder(tmp_path)
    assert outlay.lost(again, bench, "name", time.monotonic() - 2) == pytest.approx(60, abs=1)
    assert again.times() == {}
    assert outlay.lost(again, bench, "another search", time.monotonic() - 2) == pytest.approx(2, abs=1)


def test_only_passes_over_the_texts_grow_with_a_student_and_stopping_early_does_not_shrink_them() -> None:
    spent = Spent.of({"training": 8.0, "history": [{}, {}]}, learning=11.0, compressing=6.0, cost=0.5)
    assert spent == Spent(8.0, 2, 9.0, 0.5)
    estimate = Estimate.by([spent, Spent(3.0, 3, 10.0, 0.5)], cost=2.0)
    assert (estimate.epoch, estimate.fixed) == (16.0, 10.0)
    assert [estimate.epochs_in(seconds, wanted=4) for seconds in (9.0, 26.0, 41.9, 500.0)] == [0, 1, 1, 4]
    assert Estimate.by([], cost=2.0).seconds(4) == 0.0
    # What an earlier version left does not say how long the passes took.
    assert Spent.of({"history": [{}]}, learning=11.0, compressing=6.0, cost=0.5) == Spent(11.0, 1, 6.0, 0.5)


def test_the_linear_student_is_the_first_rung_and_is_delivered_like_any_other(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    low, itself = Surely.low, list[bool]()

    def heard(sure: Surely, *given: Any, **more: bool) -> float:
        itself.append(more["itself"])
        return low(sure, *given, **more)

    monkeypatch.setattr(Surely, "low", heard)
    run = pipeline.run(recipe(reviews, bert, tmp_path / "run", student={"keep": 0.3, "balance": "given"}))
    # What it answers as the teacher does, it answers so by chance.
    assert itself == [False]
    search, texts = run.measurements.search, [row["text"] for row in tiny_models.reviews()[:20]]
    assert search is not None
    (tried,) = search.tried
    assert (tried.name, tried.taken, search.reached) == ("linear", True, True)
    assert not any(path.name.startswith(("model", "config")) for path in (run.path / "student").iterdir())
    student = run.student
    assert student.layers == 0
    assert 0 < student.parameters == run.measurements.models["student"].parameters
    expected = student.predictions(texts)
    np.testing.assert_allclose(run.bundle.predictions(texts), expected, atol=1e-4)
    # Neither padding nor company changes an answer.
    np.testing.assert_allclose(run.bundle.predictions(texts[:1])[0], expected[0], atol=1e-5)
    assert len({row["label"] for row in run.bundle.predict(texts)}) == 2
    # Nothing was trained, so that there is no control; the report tells what it is.
    assert "control" not in run.measurements.models
    assert "linear, " in (run.path / "report.html").read_text()


def test_a_linear_student_of_values_answers_in_their_unit(reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = recipe(
        reviews,
        bert,
        tmp_path / "run",
        task="text-regression",
        data={"label": "rating"},
        student={"max_mb": 5.0, "rungs": ["linear"], "balance": "given"},
    )
    run = pipeline.run(given)
    values = run.bundle.predictions([row["text"] for row in tiny_models.reviews()])
    ratings = np.array([float(row["rating"]) for row in tiny_models.reviews()])
    assert abs(float(values.mean() - ratings.mean())) < 0.5
    assert float(np.corrcoef(values, ratings)[0, 1]) > 0.3


def test_a_rung_that_is_hopelessly_behind_is_given_up_and_found_again(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hope, "_MARGIN", -9.0)
    monkeypatch.setattr(Judge, "_verdict", lambda *_: (True, False, "not enough"))
    student = {"keep": 0.9, "control": False, "epochs": 3, "patience": None, "rungs": ["one"]}
    given = recipe(reviews, bert, tmp_path / "run", student=student)
    run = pipeline.run(given)
    search = run.measurements.search
    assert search is not None
    one = search.tried[0]
    assert (one.name, one.given_up_after, one.epochs) == ("one", 2, None)
    assert one.retention is not None
    # Delivered for want of a better one, it is not the one that was cut short ...
    assert [int(epoch["epoch"]) for epoch in run.measurements.history["student"]] == [1, 2, 3]
    assert "was trained to its end after it was judged" in (run.path / "report.html").read_text()
    listener = Listener()
    (tmp_path / "run" / "measurements.json").unlink()
    assert pipeline.run(given, resume=True, progress=listener).measurements.search == search
    assert not [title for title in listener.done if "Distilling" in title]
    # ... unless the rest of its training fails.
    make = Workshop.make

    def never_to_its_end(workshop: Workshop, *given: Any, **more: Any) -> Made:
        if any("to its end" in one.learning for one in given if isinstance(one, Bench)):
            raise guard.not_finite("the loss is nan", title="Distilling", epoch=2, step=9, learning_rate=1.0)
        return make(workshop, *given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Workshop, "make", never_to_its_end)
        found = pipeline.run({**given, "evaluate": {"resamples": 120}}, resume=True, progress=listener).measurements
    assert [int(epoch["epoch"]) for epoch in found.history["student"]] == [1, 2]
    assert [line for line in listener.warned if "stays as it was when it was given up" in line]
    assert "to its end" not in (run.path / "report.html").read_text()
    # What would now be trained to its end is another student.
    monkeypatch.setattr(hope, "_MARGIN", 1.0)
    given["student"]["keep"] = 0.8
    other = pipeline.run(given, resume=True).measurements.search
    assert other is not None
    assert other.tried[0].given_up_after is None


def test_a_rung_that_diverges_loses_and_the_search_goes_on(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging = {"one"}
    make = Workshop.make

    def never_finite(workshop: Workshop, settings: StudentRecipe, shape: Shape, bench: Bench, **more: Any) -> Made:
        if any(bench.learning == f"student {name}" for name in diverging):
            title, rate = "Distilling the student", settings.learning_rate
            raise guard.not_finite("the loss is nan", title=title, epoch=0, step=3, learning_rate=rate)
        return make(workshop, settings, shape, bench, **more)

    monkeypatch.setattr(Workshop, "make", never_finite)
    student = {"keep": 0.3, "control": False, "epochs": 1, "rungs": ["one", "two"], "balance": "given"}
    given = recipe(reviews, bert, tmp_path / "run", student=student, evaluate={"neighbours": True})
    listener = Listener()
    run = pipeline.run(given, progress=listener)
    search = run.measurements.search
    assert search is not None
    assert search.reached
    failed = search.tried[0]
    assert (failed.name, failed.retention, failed.late, failed.taken) == ("one", None, False, False)
    assert failed.verdict == "failed: Distilling the student: the loss is nan at step 3 of epoch 1"
    assert next(tried for tried in search.tried if tried.taken).rung == "two"
    # What it was and how it may be mended is said, for the search and for the size below what was taken.
    said = [line for line in listener.warned if "the loss is nan" in line]
    assert len(said) == 2
    assert all("learning_rate" in line for line in said)
    assert run.measurements.sizes == []
    assert "failed: Distilling the student" in (run.path / "report.html").read_text()
    # Where nothing learned, nothing was searched.
    diverging.add("two")
    with pytest.raises(TrainingError, match="the loss is nan"):
        pipeline.run({**given, "output": str(tmp_path / "other")})


def test_three_levels_are_tried_where_asked_for(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare.Judge, "speed_ratio", lambda *_: 2.0)
    monkeypatch.setattr(climb, "_TO_SPARE", ())
    monkeypatch.setattr(Climb, "_spent", lambda *_: 0.0)
    calls: list[str] = []
    verdict = Judge._verdict

    def not_the_first(judge: Judge, low: float, latency: float, size: int) -> tuple[bool, bool, str]:
        return verdict(judge, low if len(calls) > 1 else 0.0, latency, size)

    def faster_every_time(contenders: list[Contender], *_: object, **__: object) -> Timed:
        calls.append(contenders[0].model)
        found = {(contenders[0].model, "onnxruntime"): Speed(100.0 * len(calls), 512, 1.0, 1.0)}
        return Timed(found, 0.6 if len(calls) == 2 else 0.01)

    monkeypatch.setattr(Judge, "_verdict", not_the_first)
    timing = SimpleNamespace(measure=faster_every_time, packed=speed.packed, spread=speed.spread)
    monkeypatch.setattr(trial, "speed", timing)
    student = {"keep": 0.1, "control": False, "wide": True, "epochs": 1, "rungs": ["one", "whole"]}
    compress = {"quantize": "none", "cascade_levels": 3, "cascade_loss": 0.3}
    given, first = recipe(reviews, bert, tmp_path / "run", student=student, compress=compress), Listener()
    run = pipeline.run(given, progress=first)
    search = run.measurements.search
    assert search is not None
    assert [tried.name for tried in search.tried] == ["one", "whole", "whole after one, cascade 0.3"]
    # The second was timed beside something else.
    assert [tried.other_programs for tried in search.tried] == [0.01, 0.6, 0.01]
    disturbed = [line for line in first.said if "other programs used" in line]
    assert [line.split(":")[0] for line in disturbed] == ["whole"]
    assert "60.0 % of the machine's cores" in disturbed[0]
    assert [tried.taken for tried in search.tried] == [False, False, True]
    model = run.measurements.models["student"]
    assert len(model.answered) == 3
    assert sum(model.answered) == pytest.approx(1)
    assert model.latency_ms["mean"]
    assert "Answered by the levels" in (run.path / "report.html").read_text()
    levels = run.bundle.levels([row["text"] for row in tiny_models.reviews()])
    assert levels is not None
    assert set(levels) <= {0, 1, 2}
    # Found again, the middle student too, from what is on disk.
    listener = Listener()
    (tmp_path / "run" / "measurements.json").unlink()
    again = pipeline.run(given, resume=True, progress=listener)
    assert again.measurements.search == search
    assert not [title for title in listener.done if "Distilling" in title or "Exporting the student" in title]
    assert again.measurements.models["student"].parameters == model.parameters


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


def test_the_teacher_is_not_packed_where_it_is_too_large_and_something_fits(reviews: Path, tmp_path: Path) -> None:
    """A linear bundle has about 0.5 MB; four layers that are 160 wide, and their embeddings, 1 MB in bytes."""
    student = {"max_mb": 0.8, "control": False, "rungs": ["linear", "whole"], "vocabulary": "keep"}
    larger = tiny_models.write_bert(tmp_path / "larger", width=160)
    search = pipeline.run(recipe(reviews, larger, tmp_path / "run", student=student)).measurements.search
    assert search is not None
    verdicts = {tried.name: tried for tried in search.tried}
    assert verdicts["linear"].taken
    assert "its weights alone would take" in verdicts["whole"].verdict


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
