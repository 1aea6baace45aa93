"""How much unlabelled text a search reads: as much as its time allows, and all of it where the recipe says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tiny_models
from listener import Listener
from tiny_recipe import recipe
from tutelage import pipeline, portion
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.measurements import Interval, Search, Tried
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
    left = 1.5 * TEACHING - 14.0
    monkeypatch.setattr("tutelage.portion._a_text", lambda *_: left / 1.1 / (texts + 0.5))


def share(run: pipeline.Run) -> float | None:
    assert run.measurements.search is not None
    return run.measurements.search.texts


def test_a_search_reads_as_much_as_its_time_allows(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, texts=10**6)
    every = pipeline.run(given)
    assert share(every) is None
    train = len(Corpus.load(every.path / ".tutelage" / "corpus")["train"])
    timed(monkeypatch, texts=train + 10)
    goal = {**given["student"], "search_time": 1.50001}  # another search, timed anew
    listener = Listener()
    some = pipeline.run({**given, "student": goal}, resume=True, progress=listener)
    assert share(some) == 0.25
    assert "Fine-tuning the teacher" not in listener.done
    page = (some.path / "report.html").read_text()
    assert "The rungs read 25" in page
    # What was found read everything in the end, and is delivered unless it is worse.
    search = some.measurements.search
    assert search is not None
    first, last = search.tried
    assert (first.name, last.name, last.rung) == ("one", "one, all texts", "one")
    assert first.taken != last.taken
    listener = Listener()
    again = pipeline.run({**given, "student": goal}, resume=True, progress=listener)
    assert again.measurements.search == search
    assert not [title for title in listener.done if "Distilling" in title]
    asked = {**goal, "select": {"share": 1.0, "by": "random"}}
    assert share(pipeline.run({**given, "student": asked}, resume=True)) is None


def judged(value: float, low: float, *, within: bool = True) -> Tried:
    kept = Interval(value=value, low=low, high=1.0)
    return Tried(name="one", retention=kept, within=within, keeps=low >= 0.97, taken=True)


@pytest.mark.parametrize(
    ("again", "taken", "reached"),
    [
        (judged(0.98, 0.97), True, True),
        (judged(0.96, 0.94), True, False),
        (judged(0.94, 0.92), True, False),
        (judged(0.92, 0.90), False, False),
        (judged(0.99, 0.98, within=False), False, False),
    ],
)
def test_what_read_everything_is_delivered_unless_it_is_surely_worse(again: Tried, taken: bool, reached: bool) -> None:
    found = judged(0.95, 0.93)
    told = portion.told(Search(keep=0.97, confidence=0.8, reached=False, tried=[found]), [again])
    assert [one.taken for one in told.tried] == [not taken, taken]
    assert told.reached == reached


@pytest.mark.parametrize(("allowed", "texts"), [(100.0, 1795), (21.0, 0), (10.0, 0)])
def test_what_comes_with_every_student_is_taken_off_first(allowed: float, texts: int) -> None:
    assert texts_in(allowed, [0.01, 0.03]) == texts
