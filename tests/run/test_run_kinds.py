"""Which teachers and students a run takes: of every kind, for both tasks, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import tiny_models
from listener import Listener
from tiny_recipe import recipe
from tutelage import pipeline
from tutelage.check import check
from tutelage.errors import ModelError


def test_text_regression_needs_no_other_pipeline(reviews: Path, bert: Path, tmp_path: Path) -> None:
    run = pipeline.run(recipe(reviews, bert, tmp_path / "run", task="text-regression", data={"label": "rating"}))
    assert run.measurements.headline == "pearson"
    assert set(run.bundle.predict(["a fine film"])[0]) == {"value"}
    ratings = [float(row["rating"]) for row in tiny_models.reviews()]
    values = [record["value"] for record in run.bundle.predict([row["text"] for row in tiny_models.reviews()])]
    # In the user's own unit: neither standardised nor shifted.
    assert sum(values) / len(values) == pytest.approx(sum(ratings) / len(ratings), abs=0.5)
    assert run.teacher.predict(["a fine film"])[0]["value"] == pytest.approx(
        run.student.predict(["a fine film"])[0]["value"], abs=4
    )


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_decoders_and_encoder_decoders_teach_too(kind: str, reviews: Path, tmp_path: Path) -> None:
    folder = getattr(tiny_models, f"write_{kind}")(tmp_path / kind, layers=2)
    run = pipeline.run(recipe(reviews, folder, tmp_path / "run", student={"control": False, "vocabulary": "trim"}))
    texts = [row["text"] for row in tiny_models.reviews()[:40]]
    for one, other in zip(run.bundle.predict(texts), run.student.predict(texts), strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=0.02)


def test_a_teacher_that_learned_in_adapters_teaches_like_any_other(reviews: Path, bert: Path, tmp_path: Path) -> None:
    teacher = {"strategy": "adapter"}
    run = pipeline.run(recipe(reviews, bert, tmp_path / "run", teacher=teacher, student={"control": False}))
    assert run.teacher.model.config.intermediate_size == 64 + 64
    one, other = run.bundle.predict(["a fine film"])[0], run.student.predict(["a fine film"])[0]
    assert one["scores"] == pytest.approx(other["scores"], abs=0.02)


@pytest.mark.parametrize(
    ("strategy", "student"),
    [
        ("prefix", {"layers": 2, "size": None, "attention": 1.0, "hidden_of": "token"}),
        ("prompt", {"layers": 2, "size": None, "relations": 1.0}),
        ("prefix", {"keep": 0.9, "rungs": ["linear", "two"]}),
    ],
)
def test_a_teacher_that_reads_vectors_in_front_teaches_like_any_other(
    strategy: str, student: dict[str, Any], reviews: Path, bert: Path, tmp_path: Path
) -> None:
    given = recipe(
        reviews, bert, tmp_path / "run", teacher={"strategy": strategy}, student={"control": False, **student}
    )
    run = pipeline.run(given)
    assert "20 vectors in front" in run.measurements.models["teacher"].describes
    assert not hasattr(run.student.model.config, "vectors_in_front")
    one, other = run.bundle.predict(["a fine film"])[0], run.student.predict(["a fine film"])[0]
    assert one["scores"] == pytest.approx(other["scores"], abs=0.02)


def test_frozen_layers_leave_nothing_behind(reviews: Path, bert: Path, tmp_path: Path) -> None:
    listener, out = Listener(), tmp_path / "run"
    teacher = {"strategy": "last-n", "layers": 1}
    pipeline.run(recipe(reviews, bert, out, teacher=teacher, student={"control": False}), progress=listener)
    assert "Computing the frozen layers once" in listener.done
    assert not list(out.rglob("frozen"))


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"strategy": "last-n", "layers": 5}, "has 4 layers"),
        ({"strategy": "adalora", "epochs": 1, "batch_size": 400}, "1 training steps"),
    ],
)
def test_a_strategy_that_does_not_fit_is_told_by_check_and_before_training(
    teacher: dict[str, Any], message: str, reviews: Path, bert: Path, tmp_path: Path
) -> None:
    wanted, listener = recipe(reviews, bert, tmp_path / "run", teacher=teacher), Listener()
    for start in (check, pipeline.run):
        with pytest.raises(ModelError, match=message):
            start(wanted, progress=listener)
    assert "Fine-tuning the teacher" not in listener.done


def test_check_of_a_strategy_that_keeps_states(reviews: Path, bert: Path, tmp_path: Path) -> None:
    lines = check(recipe(reviews, bert, tmp_path / "run", teacher={"strategy": "head", "epochs": 9}))
    assert any(line.startswith("time: about") for line in lines)
    assert not (tmp_path / "run").exists()


def test_check_says_which_strategy_is_chosen_and_why(reviews: Path, bert: Path, tmp_path: Path) -> None:
    lines = check(recipe(reviews, bert, tmp_path / "run", teacher={"strategy": "auto"}))
    (line,) = (line for line in lines if line.startswith("strategy: "))
    assert re.match(r"strategy: full, reading the mean, for 3\d\d labelled texts are more than 128", line)
    (line,) = (line for line in lines if line.startswith("student: "))
    assert line.startswith("student: 1 layer and one that averages x 32")


def test_a_narrower_student_reads_long_texts_in_windows(reviews: Path, bert: Path, tmp_path: Path) -> None:
    long = {"max_tokens": 16, "long_text": "window"}
    run = pipeline.run(
        recipe(reviews, bert, tmp_path / "run", data=long, student={"size": None, "layers": 1, "width": 16})
    )
    assert run.student.model.config.hidden_size == 16
    text = " ".join(row["text"] for row in tiny_models.reviews()[:5])
    one, other = run.bundle.predict([text])[0], run.student.predict([text])[0]
    assert one["scores"] == pytest.approx(other["scores"], abs=0.02)
    assert len(run.student.tokenize([text]).sequences(0)) > 3


def test_an_unfitted_teacher_cannot_be_used_as_it_is(reviews: Path, bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no trained head, and `teacher\.fine_tune` is false"):
        pipeline.run(recipe(reviews, bert, tmp_path / "run", teacher={"fine_tune": False}))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no-such-owner/no-such-model", "cannot be fetched from the hub"),
        ("./no/such/folder", "does not exist"),
    ],
)
def test_a_model_that_cannot_be_had_is_said_so(model: str, message: str, reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        pipeline.run(recipe(reviews, Path("x"), tmp_path / "run", teacher={"model": model}))


def test_a_level_that_is_not_reached_is_on_the_screen_and_in_the_report_also_when_it_is_run_again(
    reviews: Path, bert: Path, tmp_path: Path
) -> None:
    given = recipe(reviews, bert, tmp_path / "run", teacher={"until": {"f1": 1.0}, "epochs": 1})
    for _ in range(2):
        listener = Listener()
        found = pipeline.run(given, resume=True, progress=listener).measurements
        (told,) = [warning for warning in listener.warned if "`until`" in warning]
        assert "trained for 1 epoch without reaching" in told
        assert told in found.warnings
        (choice,) = [choice for choice in found.choices if choice.what == "end of the teacher's training"]
        assert choice.figures["asked_f1"] == 1.0
        assert "without reaching the level asked for" in (tmp_path / "run" / "report.html").read_text()
        # Measured anew, from the teacher that is there.
        (tmp_path / "run" / "measurements.json").unlink()
