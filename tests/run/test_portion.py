"""How much unlabelled text a search reads: as much as its time allows, and all of it where the recipe says so."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import tiny_models
from listener import Listener
from tiny_recipe import recipe
from tutelage import forecast, pipeline, portion
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.measurements import Interval, Search, Tried
from tutelage.budget import share_in, texts_in
from tutelage.check import check
from tutelage.climb import Climb
from tutelage.student import ladder
from tutelage.trial import Surely, next_best

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


def test_where_nothing_is_sure_nothing_is_to_spare(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Cascades that may cost more are tried behind students that surely keep the share, after all texts, too."""
    spared: list[str] = []

    def faster(_: Climb, found: Tried, *__: Any) -> Tried:
        spared.append(found.name)
        return found

    monkeypatch.setattr(Climb, "_faster", faster)
    timed(monkeypatch, texts=len(tiny_models.reviews()) // 2)
    pipeline.run(given)
    assert spared == ["one", "one, all texts"]
    spared.clear()
    monkeypatch.setattr(Surely, "low", lambda *_, **__: 0.0)
    goal = {**given["student"], "search_time": 1.50001}
    run = pipeline.run({**given, "student": goal}, resume=True)
    search = run.measurements.search
    assert search is not None
    assert not search.reached
    # It probably keeps the share all the same.
    assert all(tried.retention and (tried.retention.value or 0.0) >= 0.3 for tried in search.tried)
    assert [tried.name for tried in search.tried] == ["one", "one, all texts"]
    assert not spared


def test_where_labels_alone_are_learned_nothing_is_learned_once_more(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed(monkeypatch, texts=len(tiny_models.reviews()) // 2)
    given["student"] |= {"alpha": 0.0, "hidden": 0.0}
    search = pipeline.run(given).measurements.search
    assert search is not None
    assert [tried.name for tried in search.tried] == ["one"]


def judged(
    value: float,
    low: float,
    *,
    name: str = "one",
    within: bool = True,
    rows: float = 100.0,
    taken: bool = False,
    high: float = 1.0,
) -> Tried:
    kept = Interval(value=value, low=low, high=high)
    return Tried(name=name, retention=kept, within=within, keeps=low >= 0.97, taken=taken, rows_per_second=rows)


def search_of(*tried: Tried, reached: bool = False, keep: float | None = 0.97) -> Search:
    return Search(keep=keep, confidence=0.8, reached=reached, tried=list(tried))


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
    told = portion.told(search_of(judged(0.95, 0.93, taken=True)), [again])
    assert [one.taken for one in told.tried] == [not taken, taken]
    assert told.reached == reached


def test_one_that_failed_when_it_learned_again_is_told_of_and_changes_nothing() -> None:
    failed = Tried(name="two, all texts", verdict="failed: the loss is nan")
    told = portion.told(search_of(judged(0.95, 0.93, taken=True)), [failed])
    assert ([one.taken for one in told.tried], told.reached) == ([True, False], False)
    better = judged(0.98, 0.97, name="one, all texts")
    told = portion.told(search_of(judged(0.95, 0.93, taken=True)), [failed, better])
    assert ([one.taken for one in told.tried], told.reached) == ([False, False, True], True)


def test_what_was_sure_stays_unless_somebody_is_sure_again() -> None:
    found = judged(0.99, 0.975, name="two", taken=True)
    unsure = judged(0.985, 0.96, name="one, all texts")
    told = portion.told(search_of(found, reached=True), [unsure])
    assert ([one.taken for one in told.tried], told.reached) == ([True, False], True)
    sure = [judged(0.99, 0.98, name="one, all texts", rows=200.0), judged(0.98, 0.97, name="faster", rows=300.0)]
    told = portion.told(search_of(found, reached=True), sure)
    assert [one.taken for one in told.tried] == [False, False, True]


def test_the_next_best_is_the_fastest_that_probably_keeps_enough() -> None:
    slow, fast = judged(0.985, 0.965, name="two"), judged(0.971, 0.955, name="one", rows=300.0)
    assert next_best([fast, slow], 0.97) is fast
    assert next_best([fast, slow], 0.98) is slow
    # Without any that does, the largest of those that are not surely worse than what looks best.
    assert next_best([fast, slow], 0.99) is slow
    worse = judged(0.95, 0.93, name="half")
    assert next_best([fast, slow, worse], 0.99) is slow
    assert next_best([fast, slow, worse], None) is slow
    assert next_best([judged(0.99, 0.98, within=False), worse], 0.97) is worse


def test_those_learn_again_that_all_texts_may_bring_to_the_goal() -> None:
    linear = judged(0.85, 0.84, name="linear", high=0.86)
    one = judged(0.93, 0.92, name="one", high=0.945)
    two = judged(0.95, 0.94, name="two", high=0.96)
    whole = judged(0.999, 0.99, name="whole")

    def taking(found: Tried) -> list[Tried]:
        return [tried.model_copy(update={"taken": tried is found}) for tried in (linear, one, two)]

    assert portion.likely(search_of(*taking(two))) == ["one", "two"]
    assert portion.likely(search_of(*taking(two), keep=0.99)) == ["two"]
    # Where nothing was found, the next that had no time may yet be it, and none beyond.
    left_out = [Tried(name="half", late=True), Tried(name="larger", late=True), Tried(name="whole")]
    assert portion.likely(search_of(*taking(two), *left_out)) == ["one", "two", "half"]
    assert portion.likely(search_of(*taking(two), *left_out, reached=True)) == ["one", "two"]
    assert portion.likely(search_of(*taking(two), *left_out, keep=None)) == ["two"]
    assert portion.likely(search_of(*taking(two), keep=None, reached=True)) == ["two"]
    # The teacher itself reads nothing, and those before it may yet do.
    every = [linear, one, two, whole.model_copy(update={"taken": True})]
    assert portion.likely(search_of(*every, reached=True)) == ["one", "two"]


@pytest.mark.parametrize(("allowed", "texts"), [(100.0, 1795), (21.0, 0), (10.0, 0)])
def test_what_comes_with_every_student_is_taken_off_first(allowed: float, texts: int) -> None:
    assert texts_in(allowed, [0.01, 0.03]) == texts


def test_little_more_text_is_read_whole() -> None:
    assert share_in(100.0, [0.04], labelled=954, more=2000) == 0.5
    assert share_in(0.0, [0.04], labelled=954, more=2000) == 0.0
    assert share_in(0.0, [0.04], labelled=954, more=100) == 1.0


# --- what is reckoned before ------------------------------------------------------------------------------------


def test_check_reckons_what_learning_once_more_takes(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    given["student"]["rungs"] = ["static", "one", "two"]
    lines = check(given)
    assert not [line for line in lines if "once more" in line]
    seconds = iter([1.0, 2.0, 4.0])  # of a text, for rung after rung
    monkeypatch.setattr(ladder, "seconds_a_text", lambda *_, **__: next(seconds))
    lines = check(given)
    assert [line for line in lines if line.startswith("unlabelled texts: the search has time for about 0 of 40; ")]
    # 400 texts or so: the cheapest alone takes a good seven minutes, all three seven times as long.
    (time,) = [line for line in lines if line.startswith("time: ")]
    least, most = re.findall(r"once more from all texts (\d+) min to (\d+) min", time)[0]
    assert 5 < int(least) < 10
    assert 5.5 < int(most) / int(least) < 8.5
    assert re.match(r"time: about \d+ min to \d+ min \(", time)


def test_check_says_nothing_of_it_where_the_recipe_says_what_is_read(given: dict[str, Any]) -> None:
    rungs = {**given["student"], "select": {"share": 0.5}}
    assert not [line for line in check({**given, "student": rungs}) if "once more" in line]


def test_check_gives_a_search_the_time_of_one_of_several_teachers(
    given: dict[str, Any], bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed: list[float] = []
    monkeypatch.setattr(forecast.Rungs, "share", lambda _, seconds, *__: allowed.append(seconds) or 1.0)
    monkeypatch.setattr(forecast, "cost", lambda *_: forecast.Cost(1e-2, 1e-6, 1e-6, 1000))
    other = shutil.copytree(bert, tmp_path / "other")
    check(given)
    teacher = {"epochs": 1, "models": [str(bert), str(other)]}
    check({**given, "teacher": teacher})
    assert allowed[1] == pytest.approx(allowed[0], rel=0.01)
