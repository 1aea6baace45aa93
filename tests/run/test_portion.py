"""How much unlabelled text a search reads: as much as its time allows, and all of it where the recipe says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tiny_models
from listener import Listener
from tiny_recipe import recipe
from tutelage import pipeline
from tutelage.artifacts.corpus import Corpus
from tutelage.budget import texts_in

TEACHING = 100.0


@pytest.fixture
def given(reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A search of one rung, with 40 texts beside those that have labels."""
    file = tmp_path / "more.csv"
    words = tiny_models.reviews()[0]["text"]
    file.write_text("text\n" + "\n".join(f"{words} number {n}" for n in range(40)), encoding="utf-8")
    monkeypatch.setattr("tutelage.folder.RunFolder.teaching", lambda _: TEACHING)
    # A process a model takes longer than everything else here.
    monkeypatch.setattr("tutelage.evaluate.memory._measure", lambda *_, **__: None)
    student = {"keep": 0.3, "control": False, "rungs": ["one"], "epochs": 1, "balance": "given"}
    return recipe(
        reviews,
        bert,
        tmp_path / "run",
        data={"unlabelled": str(file)},
        student=student,
        teacher={"epochs": 1},
        evaluate={"speed_rows": 4},
    )


def timed(monkeypatch: pytest.MonkeyPatch, *, texts: int) -> None:
    """Students take as long over a text as leaves time for so many."""
    left = 1.5 * TEACHING - 16.0
    monkeypatch.setattr("tutelage.portion._a_text", lambda *_: left / 1.4 / (texts + 0.5))


def read(run: pipeline.Run) -> list[str]:
    return [choice.taken for choice in run.measurements.choices if choice.what.startswith("share of the unlabelled")]


def test_a_search_reads_as_much_as_its_time_allows(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, texts=10**6)
    every = pipeline.run(given)
    assert read(every) == []
    train = len(Corpus.load(every.path / ".tutelage" / "corpus")["train"])
    timed(monkeypatch, texts=train + 10)
    goal = {**given["student"], "search_time": 1.50001}  # another search, timed anew
    listener = Listener()
    some = pipeline.run({**given, "student": goal}, resume=True, progress=listener)
    assert read(some) == ["10 of 40"]
    assert "Fine-tuning the teacher" not in listener.done
    asked = {**goal, "select": {"share": 1.0, "by": "random"}}
    assert read(pipeline.run({**given, "student": asked}, resume=True)) == ["40 of 40"]


@pytest.mark.parametrize(("allowed", "texts"), [(100.0, 1357), (24.0, 0), (10.0, 0)])
def test_what_comes_with_every_student_is_taken_off_first(allowed: float, texts: int) -> None:
    assert texts_in(allowed, [0.01, 0.03]) == texts
