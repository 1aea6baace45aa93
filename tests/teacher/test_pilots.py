"""Which teacher suits the student is found by short trials of it; the better half goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from listener import Listener
from tiny_recipe import recipe
from tutelage import check, pilots, pipeline
from tutelage.candidates import Candidate, choose, named
from tutelage.errors import TrainingError
from tutelage.folder import LOG, RunFolder
from tutelage.pilots import Pilot, Trials, halve, lesson, rounds
from tutelage.progress import Logged, Progress
from tutelage.recipe import StudentRecipe, load
from tutelage.student.linear import Array
from tutelage.tasks.base import Metric
from tutelage.training import guard
from tutelage.workshop import Workshop

SCORE = Metric("accuracy", "Accuracy", lambda _, __: 0.0)
ROWS = np.linspace(-0.1, 0.1, 200)


@pytest.mark.parametrize(
    ("teachers", "texts", "expected"),
    [
        (7, 50_000, [(7, 1024), (4, 2048), (2, 4096)]),
        (8, 1500, [(8, 375), (4, 750), (2, 1500)]),
        (2, 50_000, [(2, 4096)]),
        (1, 50_000, []),
        # A round that would read no more than the one before tells nothing new.
        (7, 600, [(7, 256), (4, 300), (2, 600)]),
        (7, 200, [(7, 200)]),
        (5, 500, [(5, 256), (2, 500)]),
    ],
)
def test_half_the_teachers_go_on_to_twice_the_texts(teachers: int, texts: int, expected: list[tuple[int, int]]) -> None:
    assert rounds(teachers, texts) == expected


def test_the_better_half_goes_on_and_the_best_of_the_last_round_is_taken() -> None:
    tried: list[tuple[int, int]] = []

    def trial(number: int, texts: int) -> Array:
        tried.append((number, texts))
        # 4 begins well and learns no more; 1 would be the best of all after 4,096 texts, and never gets there.
        loss = {0: 0.60, 1: 0.70, 2: 0.50, 3: 0.55, 4: 0.42, 5: 0.65, 6: 0.69}[number]
        gains = {1: 0.6, 4: 0.0}.get(number, 0.1)
        return ROWS + loss - gains * (texts > 4000)

    found = halve(7, 50_000, trial)
    assert [one.texts for one in found] == [2048, 1024, 4096, 2048, 4096, 1024, 1024]
    assert len(tried) == 7 + 4 + 2
    several = [Candidate(str(number), ROWS + 0.5, 0.9, pilot=one) for number, one in enumerate(found)]
    best, choice = choose(several, SCORE, "pilots")
    assert best == 2
    assert "2 0.4000 after 4,096 texts (itself 0.5000, accuracy 0.9000)" in choice["why"]
    assert "against 4" in choice["why"]
    assert len(choice["figures"]["pilots"]) == 7


def test_one_that_read_less_is_not_taken_for_its_loss() -> None:
    several = [
        Candidate("left out", ROWS + 0.5, 0.9, pilot=Pilot(ROWS + 0.2, 1024)),
        Candidate("went on", ROWS + 0.5, 0.9, pilot=Pilot(ROWS + 0.3, 2048)),
    ]
    assert choose(several, SCORE, "pilots")[0] == 1


def test_a_teacher_under_which_the_student_diverges_loses_and_the_others_go_on() -> None:
    def trial(number: int, texts: int) -> Array:
        if number in diverging:
            title = "Distilling the student"
            raise guard.not_finite("the loss is nan", title=title, epoch=0, step=texts, learning_rate=1)
        return ROWS + 0.5 - 0.1 * number

    diverging = {2, 3}
    found = halve(4, 50_000, trial)
    assert [one.texts for one in found] == [4096, 4096, 2048, 2048]
    assert [one.loss is None for one in found] == [False, False, True, True]
    assert found[3].failed == "Distilling the student: the loss is nan at step 2048 of epoch 1"
    several = [Candidate(str(number), ROWS + 0.5, 0.9, pilot=one) for number, one in enumerate(found)]
    best, choice = choose(several, SCORE, "pilots")
    assert best == 1
    assert "3 failed after 2,048 texts (itself 0.5000, accuracy 0.9000)" in choice["why"]
    assert choice["figures"]["pilots"][2:] == [None, None]
    json.dumps(choice, allow_nan=False)
    # All fell out in the last round but one: the others learned from fewer texts, and are not compared with it.
    last = [Pilot(ROWS + loss, texts) for loss, texts in ((0.4, 2048), (0.3, 4096), (0.35, 2048))]
    several = [Candidate(str(number), ROWS + 0.5, 0.9, pilot=one) for number, one in enumerate(last)]
    best, choice = choose(several, SCORE, "pilots")
    assert (best, "against" in choice["why"]) == (1, False)
    # One is left: there is no other to be better than.
    diverging |= {0}
    found = halve(4, 50_000, trial)
    several = [Candidate(str(number), ROWS + 0.5, 0.9, pilot=one) for number, one in enumerate(found)]
    best, choice = choose(several, SCORE, "pilots")
    assert (best, "against" in choice["why"], choice["figures"]["pilots"][0]) == (1, False, None)
    assert found[1].texts == 2048
    assert [Pilot.of(json.loads(json.dumps(one.as_dict()))).texts for one in found] == [2048] * 4
    # Nobody can be chosen where nobody was heard.
    diverging |= {1}
    with pytest.raises(TrainingError, match="the loss is nan"):
        halve(4, 50_000, trial)


@pytest.fixture
def asked(bert: Path, reviews: Path, tmp_path: Path) -> dict:
    # One epoch more than is worth it: there are two to choose from.
    teacher = {"candidates": "epochs", "epochs": 2, "choose_by": "pilots"}
    stages = [{"epochs": 1, "prediction": 0.0, "hidden": 1.0}, {"epochs": 1}]
    return recipe(reviews, bert, tmp_path / "run", teacher=teacher, student={"control": False, "stages": stages})


def test_a_lesson_is_one_epoch_of_everything(asked: dict) -> None:
    settings = lesson(load(asked).student)
    assert (settings.epochs, settings.stages, settings.balance) == (1, None, "given")
    # Whatever any stage weighs, for what the head says is what is judged.
    stages = [{"epochs": 1, "hidden": 0.5}, {"epochs": 2, "prediction": 1.0}]
    found = lesson(StudentRecipe(prediction=0.0, hidden=0.0, stages=stages))
    assert (found.prediction, found.hidden, found.epochs) == (1.0, 0.5, 1)
    # A last stage of labels alone would hear no teacher.
    assert lesson(StudentRecipe(stages=[{"epochs": 3, "hidden": 0}, {"epochs": 1, "hidden": 0, "alpha": 0}])).alpha == 1
    # What decides by the student changes with it, and with nothing that a trial takes no notice of.
    assert named(load(asked)) != named(load({**asked, "student": {"layers": 1}}))
    plain = {key: value for key, value in asked.items() if key != "student"}
    for ignored in ({"epochs": 7}, {"wide": False}, {"keep": 0.9, "max_mb": 5}, {"curriculum": "length"}):
        assert named(load({**plain, "student": ignored})) == named(load(plain))


def test_a_run_tries_the_student_and_says_what_came_of_it(asked: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilots, "_MOST", 64)
    listener, given = Listener(), load(asked)
    folder = RunFolder.claim(given, resume=False)

    def made(progress: Progress) -> Workshop:
        with folder.locked():
            story = pipeline._Story(given, folder, Logged(progress, folder.path / LOG))
            return story._workshop(story._data())

    workshop = made(listener)
    assert "Trying the student under each teacher" in listener.done
    (told,) = (choice for choice in folder.choices() if choice["what"] == "teacher")
    losses = told["figures"]["pilots"]
    assert len(losses) == 2
    assert told["taken"].endswith(f"epoch {1 + losses.index(min(losses))}")
    assert "after 64 texts" in told["why"]
    assert folder.times()["pilots"] > 0
    assert not (folder.training / "pilots").exists()
    # What was found is not looked for again, even if the choice was not noted any more.
    for forgotten in ([], ["teacher"]):
        for stage in forgotten:
            folder.forget(stage)
        made(heard := Listener())
        assert "Trying the student under each teacher" not in heard.done
    (again,) = (choice for choice in folder.choices() if choice["what"] == "teacher")
    assert again == told

    # Killed between two trials, the one that was finished says the same and is not trained again.
    trials = Trials(given, folder, workshop.corpus)
    first = trials.loss(0, workshop.teacher, 64)
    monkeypatch.setattr("tutelage.training.loop._Training._step", None)
    assert np.array_equal(first, trials.loss(0, workshop.teacher, 64))
    assert np.isfinite(first).all()
    assert len(first) == len(workshop.corpus["validation"])


def test_what_trials_take_is_reckoned_with(asked: dict) -> None:
    assert any("pilots" in line for line in check.check(asked))
