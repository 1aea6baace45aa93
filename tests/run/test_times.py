"""Which stages a report lists, and what they took: those of its recipe, whoever did them and when."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tiny_recipe import recipe
from tutelage import pipeline
from tutelage.artifacts.signals import write_shard
from tutelage.folder import RunFolder
from tutelage.progress import Logged, Silent
from tutelage.teacher import signals
from tutelage.workshop import Workshop

_NOW = 1000.0


def spend(folder: RunFolder, stage: str, seconds: float, name: str = "name", *, asked: bool = True) -> None:
    """A stage that took so long, if it was not there already."""
    if not asked or folder.done(stage, name) is None:
        folder.finish(stage, name, started=_NOW - seconds)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder in which time stands still."""
    monkeypatch.setattr("tutelage.folder.time", SimpleNamespace(monotonic=lambda: _NOW))
    (tmp_path / ".tutelage").mkdir()
    return tmp_path


def test_stages_of_an_earlier_recipe_are_not_listed(place: Path) -> None:
    first, second = RunFolder(place), RunFolder(place)
    for stage in ("data", "control", "student"):
        spend(first, stage, 5)
    assert list(first.times()) == ["data", "control", "student"]
    spend(second, "data", 9)
    # Asked for, but of another input: what is there was not used.
    assert second.done("student", "another") is None
    assert second.times() == {"data": 5.0}
    spend(second, "student", 7, "another")
    assert second.times() == {"data": 5.0, "student": 7.0}


def test_what_a_stage_needed_when_it_was_done_belongs_to_it(place: Path) -> None:
    first = RunFolder(place)
    spend(first, "data", 1)
    assert first.done("search", "name") is None
    assert first.done("student one", "name") is None
    spend(first, "signals", 2)
    spend(first, "student one", 3, asked=False)
    spend(first, "student two", 4)
    spend(first, "search", 5, asked=False)
    spend(first, "control", 6)
    whole = {"data": 1.0, "signals": 2.0, "student one": 3.0, "student two": 4.0}
    assert first.times() == {**whole, "control": 6.0}

    # Found again, a search asks for nothing; its time is that of its parts, whatever became of them meanwhile.
    other = RunFolder(place)
    spend(other, "student two", 40, "another")
    again = RunFolder(place)
    for stage in ("data", "search"):
        assert again.done(stage, "name") is not None
    assert again.times() == whole


def test_what_was_warned_of_in_a_stage_is_told_again_where_it_is_found_done(place: Path) -> None:
    def begun() -> tuple[RunFolder, Logged]:
        folder, log = RunFolder(place), Logged(Silent(), place / "log")
        folder.listen(log)
        return folder, log

    first, log = begun()
    log.warn("before anything")
    assert first.done("teacher", "name") is None
    log.warn("a batch is left out")
    assert first.done("labels", "name") is None
    log.warn("unsure")
    log.warn("a batch is left out")
    spend(first, "labels", 1, asked=False)
    spend(first, "teacher", 2, asked=False)
    spend(first, "student", 3)
    assert log.warnings == ["before anything", "a batch is left out", "unsure"]
    again, log = begun()
    for stage in ("teacher", "student"):
        assert again.done(stage, "name") is not None
    # What a stage was made of is not asked for again.
    assert log.warnings == ["a batch is left out", "unsure"]
    other, log = begun()
    assert other.done("teacher", "another") is None
    assert log.warnings == []


def test_records_of_before_there_were_parts_are_read(place: Path) -> None:
    old = {"data": {"fingerprint": "name", "seconds": 4.0, "kept": {}}}
    (place / ".tutelage" / "stages.json").write_text(json.dumps(old))
    folder = RunFolder(place)
    spend(folder, "data", 9)
    spend(folder, "teacher", 2)
    assert folder.times() == {"data": 4.0, "teacher": 2.0}


def test_what_is_forgotten_takes_no_time(place: Path) -> None:
    spend(RunFolder(place), "balance", 3)
    folder = RunFolder(place)
    folder.forget("balance")
    assert folder.times() == {}
    assert folder.done("balance", "name") is None


def test_what_is_about_to_be_written_over_is_not_found_again_by_its_own_recipe(place: Path) -> None:
    folder, output = RunFolder(place), place / "output"
    output.mkdir()
    for stage in ("compress", "balance"):
        spend(folder, stage, 1, "mine")
    # Another recipe asks, and is killed while it writes.
    assert RunFolder(place).done("compress", "another", output) is None
    assert RunFolder(place).done("compress", "mine", output) is None
    # What leaves no files is only looked up; and either of two names may be asked for.
    assert RunFolder(place).done("balance", "another") is None
    assert RunFolder(place).done("balance", "mine") is not None
    spend(folder, "student", 1, "given up")
    assert RunFolder(place).done("student", "to its end", output, other="given up") is not None


class _Killed(BaseException):
    pass


def test_a_report_lists_what_its_recipe_used(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done now or in a process before, one that was killed included; a recipe without a control lists none."""
    given = recipe(reviews, bert, tmp_path / "run", teacher={"epochs": 1}, student={"epochs": 1})

    def killed(folder: Path, number: int, *records: Any) -> None:
        if number:
            raise _Killed
        write_shard(folder, number, *records)

    monkeypatch.setattr(signals, "SHARD_ROWS", 16)
    with monkeypatch.context() as patched:
        patched.setattr(signals, "write_shard", killed)
        with pytest.raises(_Killed):
            pipeline.run(given)
    # As if that had taken long.
    (unfinished,) = (tmp_path / "run" / "signals").glob("*/unfinished.json")
    unfinished.write_text(json.dumps({"seconds": 500.0}))
    first = pipeline.run(given).measurements.times
    assert (first["signals"] or 0.0) > 500
    stages = ["data", "teacher", "signals", "student", "control"]
    assert [stage for stage in first if stage in stages] == stages
    given["student"]["control"] = False
    second = pipeline.run(given, resume=True).measurements.times
    assert second == {stage: seconds for stage, seconds in first.items() if stage != "control"}


def test_a_recording_that_goes_on_counts_with_all_that_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".tutelage").mkdir()
    now = [100.0]
    for module in ("workshop", "folder"):
        monkeypatch.setattr(f"tutelage.{module}.time", SimpleNamespace(monotonic=lambda: now[0]))
    workshop: Any = Workshop.__new__(Workshop)
    workshop.folder, workshop.speaker = RunFolder(tmp_path), SimpleNamespace(stage="signals")
    workshop._gathered = lambda _: []
    for written, seconds, told in ((10, 5.0, 5.0), (0, 1.0, 5.0), (3, 2.0, 7.0)):

        def record(*_: object, written: int = written, seconds: float = seconds) -> Any:
            now[0] += seconds
            return SimpleNamespace(written=written, earlier=0.0, folder=Path("name"))

        workshop._record = record
        workshop.signals(None)
        assert workshop.folder.times() == {"signals": told}
