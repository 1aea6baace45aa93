"""`auto` takes what its rules say, says why, keeps to it, and the teacher's key holds what was really done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_models
from splits import split
from tutelage import recipe as recipes
from tutelage import teachers
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.encoding import Reading
from tutelage.folder import CHOOSING, RunFolder
from tutelage.progress import Logged, Silent
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.tasks import TextClassification
from tutelage.teacher import load, strategies
from tutelage.teacher.strategies import choose, few_shot
from tutelage.teacher.strategies.choose import AVERAGED, FEW, Facts
from tutelage.teachers import School

TASK = TextClassification(("negative", "positive"))
SIDES = [[row for row in tiny_models.reviews() if row["label"] == label] for label in TASK.labels]
ROWS = [row for pair in zip(*SIDES, strict=False) for row in pair]
ROOM, LITTLE = 10**12, 10**6
AUTO = TeacherRecipe(strategy="auto")


def known(rows: int = 32, *, rarest: int = 8, free: int = ROOM, mean: bool = False) -> Facts:
    return Facts(rows, rarest, 20_000_000, free, mean)


@pytest.mark.parametrize(
    ("given", "impossible", "taken", "why"),
    [
        (known(), (), "few-shot", "32 labelled texts are at most"),
        (known(FEW), (), "few-shot", "pairs of them teach more"),
        (known(FEW + 1), (), "full", f"more than {FEW}, and there is memory for all weights"),
        (known(rarest=1), (), "full", "a class with one text has no pair"),
        (known(rarest=0), (), "full", "labels are numbers"),
        (known(), ("few-shot",), "full", "no vector of a text"),
        (known(free=LITTLE), (), "lora", "20 million weights takes 0.32 GB, more than half of the 0.001 GB"),
        (known(free=LITTLE), ("lora",), "bitfit", "more than half"),
        (known(5000, free=LITTLE), ("lora", "bitfit"), "head", "more than half"),
    ],
)
def test_the_rules(given: Facts, impossible: tuple[str, ...], taken: str, why: str) -> None:
    found, reason = choose.choose(given, AUTO, lambda name: name not in impossible)
    assert found == taken
    assert why in reason


def test_what_asks_for_labels_is_not_overheard() -> None:
    asked = TeacherRecipe(strategy="auto", label_smoothing=0.1)
    assert choose.choose(known(), asked, lambda _: True) == (
        "full",
        "32 labelled texts are few, but `label_smoothing` asks for labels, not pairs",
    )


def test_a_strategy_that_is_taken_brings_its_own_rate_unless_one_is_given() -> None:
    assert AUTO.taking("few-shot", "auto") == TeacherRecipe(strategy="few-shot")
    assert AUTO.taking("full", "auto") == TeacherRecipe()
    assert AUTO.taking("full", "mean") == TeacherRecipe(reads="mean")
    assert TeacherRecipe(strategy="auto", learning_rate=0.5).taking("lora", "auto").learning_rate == 0.5


@pytest.mark.parametrize(
    ("given", "taken", "asked", "reads"),
    [
        (known(AVERAGED, mean=True), "full", "auto", "mean"),
        (known(AVERAGED, mean=True), "lora", "auto", "mean"),
        (known(AVERAGED + 1, mean=True), "full", "auto", "auto"),
        (known(200), "full", "auto", "auto"),
        (known(200, rarest=0, mean=True), "full", "auto", "auto"),
        (known(32, mean=True), "few-shot", "auto", "auto"),
        (known(200, mean=True), "full", "own", "own"),
        (known(9999, mean=True), "full", "mean", "mean"),
    ],
)
def test_what_the_head_reads(given: Facts, taken: Any, asked: str, reads: str) -> None:
    found, why = choose.reads(given, TeacherRecipe(strategy="auto", reads=asked), taken)
    assert found == reads
    assert bool(why) == (asked == "auto" and reads == "mean")


def test_a_head_that_was_trained_goes_on_reading_what_it_read(bert: Path) -> None:
    model = load.load(str(bert), TASK, Reading(32))[0]
    targets, first = np.arange(200) % 2.0, {"train": "first.csv"}
    for settings, fitted, reads in (
        (AUTO, False, "mean"),
        (AUTO, True, "auto"),
        (TeacherRecipe(strategy="auto", first=first), False, "auto"),
    ):
        assert strategies.settled(model, settings, targets, free=ROOM, fitted=fitted)[0].reads == reads


# --- in a run -------------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_shot, "PAIRS", 16)
    monkeypatch.setattr(choose, "FEW", 20)


def corpus(rows: int) -> Corpus:
    texts, targets = [r["text"] for r in ROWS], [float(r["label"] == "positive") for r in ROWS]
    train, validation = split(texts[:rows], targets[:rows]), split(texts[-8:], targets[-8:], "validation")
    return Corpus(Path("nowhere"), TASK, {"train": train, "validation": validation}, f"{rows} rows", {})


class Listener(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def school(bert: Path, out: Path, rows: int, listener: Listener | None = None, **teacher: Any) -> School:
    recipe = recipes.load(
        {
            "task": "text-classification",
            "data": {"train": "in memory"},
            "teacher": {"model": str(bert), "epochs": 1, **teacher},
            "output": str(out),
        }
    )
    folder = RunFolder.claim(recipe, resume=True)
    progress = Logged(listener or Silent(), out / "log.jsonl")
    return School(recipe, folder, corpus(rows), Reading(32), progress, lambda _: None)


def layers(made: tuple[str, Network]) -> int:
    """One more with few-shot."""
    return int(made[1].model.config.num_hidden_layers) - 4


def test_the_choice_is_said_and_kept_with_its_reason(few: None, bert: Path, tmp_path: Path) -> None:
    listener, out = Listener(), tmp_path / "run"
    one = school(bert, out, 16, listener, strategy="auto")
    assert layers(one.teacher()) == 1
    line = next(text for text in listener.said if text.startswith("Strategy of the teacher: few-shot, for 16 labelled"))
    assert "\n" not in line
    (choice,) = one.folder.choices()
    assert choice["taken"] == "few-shot"
    assert choice["figures"]["rows"] == 16
    assert not any(stage.startswith(CHOOSING) for stage in one.folder.times())
    # Given by name it is the same teacher, and nothing is told of a choice.
    given = school(bert, out, 16, strategy="few-shot")
    assert given.teacher()[0] == one.teacher()[0]
    given._settled(given.recipe.teacher, "teacher")
    assert not given.folder.choices()


def test_more_rows_make_another_teacher_and_less_memory_does_not(few: None, bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = school(bert, out, 16, strategy="auto").teacher()

    class Memory:
        available = 1000

    with pytest.MonkeyPatch.context() as scarce:
        scarce.setattr(teachers.psutil, "virtual_memory", lambda: Memory)
        assert school(bert, out, 16, strategy="auto").teacher()[0] == first[0]
    more = school(bert, out, 24, strategy="auto")
    second = more.teacher()
    assert (layers(first), layers(second)) == (1, 1)
    assert second[0] != first[0]
    assert second[0] == school(bert, tmp_path / "other", 24, reads="mean").teacher()[0]
    assert more.folder.choices()[0]["taken"] == "full, reading the mean"
    assert school(bert, out, 24, strategy="auto").teacher()[0] == second[0]


def test_a_teacher_that_is_used_as_it_is_chooses_nothing(few: None, bert: Path, tmp_path: Path) -> None:
    made = school(bert, tmp_path / "made", 16)
    made.teacher()
    again = school(made.folder.teacher, tmp_path / "run", 16, strategy="auto")
    again.teacher()
    assert not again.folder.choices()


def test_settled_settings_stay_as_they_are(few: None, bert: Path, tmp_path: Path) -> None:
    network = school(bert, tmp_path / "run", 16)._start(TeacherRecipe(model=str(bert)))[0]
    given = TeacherRecipe(strategy="head")
    assert strategies.settled(network, given, np.zeros(4), free=0) == (given, None)
