"""A curriculum draws easy texts first, as many steps as without, the same after a kill, and nothing else changes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tiny_training import Killed, killed_at
from tutelage.artifacts.batch import plan
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.errors import RecipeError
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.student import curriculum, distil, initialise
from tutelage.student.build import Shape
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import load, signals
from tutelage.training import loop

CLASSES = TextClassification(("no", "yes"))
LENGTHS = np.random.default_rng(0).integers(5, 60, 203)


def settings(**changes: Any) -> StudentRecipe:
    return StudentRecipe.model_validate(
        {"curriculum": "length", "epochs": 4, "batch_size": 8, "patience": None, **changes}
    )


class Stub:
    """As much of a network as difficulty asks for."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.model = torch.nn.Sequential(torch.nn.Linear(2, task.width))


def known(*, said: Any = None, targets: Any = None, task: Task = CLASSES, lengths: Any = LENGTHS) -> curriculum.Known:
    count = len(lengths)
    said = np.zeros((count, task.width), dtype=np.float32) if said is None else np.asarray(said, dtype=np.float32)
    targets = np.zeros(count) if targets is None else np.asarray(targets, dtype=np.float64)
    return curriculum.Known(Stub(task), np.asarray(lengths), targets, lambda: said)  # type: ignore[arg-type]


def epochs(given: StudentRecipe, seed: int = 0, lengths: Any = LENGTHS) -> list[list[np.ndarray]]:
    of_epoch = curriculum.batches(known(lengths=lengths), given, seed)
    return [of_epoch(epoch) for epoch in range(given.epochs)]


# --- how hard a text is ------------------------------------------------------------------------------------------


def test_sure_answers_are_easy() -> None:
    said = [[3, -3], [0, 0], [-1, 1], [0, 0.1]]
    order = curriculum.ranked(known(said=said, lengths=[9] * 4), settings(curriculum="confidence"), 0)
    assert order.tolist() == [0, 2, 3, 1]


def test_answers_against_the_label_are_hard_and_unlabelled_texts_in_the_middle() -> None:
    said, targets = [[3, -3], [3, -3], [0, 0], [1, -1], [9, 9]], [1, 0, 0, 1, np.nan]
    order = curriculum.ranked(known(said=said, targets=targets, lengths=[9] * 5), settings(curriculum="loss"), 0)
    assert order.tolist().index(1) == 0
    assert order.tolist()[-2:] == [3, 0]
    assert order.tolist().index(4) in (1, 2, 3)


def test_the_loss_of_values_is_in_training_units() -> None:
    task = TextRegression(100.0, 20.0)
    given = known(said=[[120.0], [90.0], [100.0]], targets=[100.0, 95.0, 100.0], task=task, lengths=[9] * 3)
    assert curriculum.MEASURES["loss"](given) == pytest.approx([1.0, 1 / 16, 0.0])


def test_without_any_label_every_text_is_alike() -> None:
    assert not curriculum.MEASURES["loss"](known(targets=np.full(len(LENGTHS), np.nan))).any()


def test_hard_first_turns_the_order_round() -> None:
    lengths = np.arange(30)
    first, last = (
        curriculum.ranked(known(lengths=lengths), settings(curriculum_order=f"{name}-first"), 0)
        for name in ("easy", "hard")
    )
    assert first.tolist() == last[::-1].tolist() == lengths.tolist()


def test_equally_hard_texts_do_not_come_in_the_order_of_the_file() -> None:
    order = curriculum.ranked(known(lengths=np.full(50, 7)), settings(), 0)
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() != list(range(50))


def test_values_have_no_confidence() -> None:
    for task in (TextRegression, TextRegression(0.0, 1.0)):
        with pytest.raises(RecipeError, match=r"student.curriculum: 'confidence' does not fit text-regression"):
            curriculum.refuse_unfit(settings(curriculum="confidence"), task)
        curriculum.refuse_unfit(settings(curriculum="loss"), task)
    curriculum.refuse_unfit(settings(curriculum="confidence"), CLASSES)


# --- how much may be drawn ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pacing", ["linear", "root", "step"])
@pytest.mark.parametrize("end", [0.3, 1.0])
def test_the_share_grows_from_its_start_to_everything(pacing: str, end: float) -> None:
    given = settings(curriculum_pacing=pacing, curriculum_start=0.2, curriculum_end=end)
    shares = [curriculum.competence(given, done / 100) for done in range(101)]
    assert shares[0] == pytest.approx(0.2)
    assert shares == sorted(shares)
    assert max(shares) == shares[round(100 * end)] == 1.0
    assert shares[round(100 * end) - 1] < 1
    half = curriculum.competence(given, end / 2)
    assert half == pytest.approx({"linear": 0.6, "root": np.sqrt(0.52), "step": 0.2}[pacing])


@pytest.mark.parametrize("pacing", ["linear", "root", "step"])
def test_every_batch_holds_only_what_may_be_drawn(pacing: str) -> None:
    given = settings(curriculum_pacing=pacing, curriculum_start=0.2)
    place = np.argsort(curriculum.ranked(known(), given, 0))
    hardest = [max(place[rows]) / len(LENGTHS) for epoch in epochs(given) for rows in epoch]
    steps = len(hardest)
    for step, reached in enumerate(hardest):
        # Batches that are drawn together may be some steps apart.
        assert reached <= curriculum.competence(given, (step + 3) / steps)
    assert hardest[0] <= 0.2
    assert np.mean(hardest[: steps // 4]) < np.mean(hardest[-steps // 4 :]) - 0.1


@pytest.mark.parametrize("start", [0.001, 0.2, 1.0])
def test_an_epoch_has_the_steps_and_sizes_that_it_would_have_without(start: float) -> None:
    given = settings(curriculum_start=start, curriculum_end=1.0)
    plain = plan(LENGTHS, batch_size=8, seed=0, epoch=0)
    for epoch in epochs(given):
        assert sorted(map(len, epoch)) == sorted(map(len, plain))


def test_after_its_end_everything_is_as_without() -> None:
    given = settings(curriculum_end=0.5)
    found = epochs(given)
    for epoch in (2, 3):
        for one, other in zip(found[epoch], plan(LENGTHS, batch_size=8, seed=0, epoch=epoch), strict=True):
            np.testing.assert_array_equal(one, other)
    assert len({int(row) for rows in found[0] for row in rows}) < len(LENGTHS)


def test_those_that_may_be_drawn_are_drawn_without_preference() -> None:
    given = settings(curriculum_pacing="step", curriculum_start=0.25, epochs=2, curriculum_end=1.0)
    counts = Counter(int(row) for epoch in epochs(given) for rows in epoch for row in rows)
    assert len(counts) == round(0.25 * len(LENGTHS))
    found = np.array(list(counts.values()))
    # By chance a text is drawn as often as a Poisson number says, at most.
    assert found.std() < 1.2 * np.sqrt(found.mean())


def test_what_is_drawn_follows_from_seed_and_epoch_alone() -> None:
    given = settings()
    of_epoch = curriculum.batches(known(), given, 3)
    backwards = [of_epoch(epoch) for epoch in reversed(range(4))][::-1]
    for one, other in zip(backwards, epochs(given, seed=3), strict=True):
        assert [rows.tolist() for rows in one] == [rows.tolist() for rows in other]
    assert [rows.tolist() for rows in backwards[0]] != [rows.tolist() for rows in epochs(given, seed=4)[0]]


def test_texts_of_similar_length_still_meet() -> None:
    """Where steps are many. By confidence, so that the order itself says nothing of lengths."""
    lengths = np.random.default_rng(1).integers(5, 60, 12_000)
    given = settings(curriculum="confidence", curriculum_end=1.0, epochs=2, batch_size=32)
    said = np.random.default_rng(2).normal(size=(12_000, 2))
    found = curriculum.batches(known(said=said, lengths=lengths), given, 0)(0)
    padded = sum(len(rows) * int(lengths[rows].max()) for rows in found)
    assert padded < 1.15 * sum(int(lengths[rows].sum()) for rows in found)


@pytest.mark.parametrize("start", [0.02, 0.05, 0.5])
def test_no_text_stands_twice_in_a_batch(start: float) -> None:
    lengths = np.random.default_rng(1).integers(5, 60, 1000)
    given = settings(curriculum_start=start, curriculum_end=1.0, batch_size=16, epochs=8)
    for epoch in epochs(given, lengths=lengths):
        assert all(len(rows) == len(set(rows.tolist())) for rows in epoch)


def test_fewer_texts_than_a_batch_are_no_problem() -> None:
    for epoch in epochs(settings(epochs=2), lengths=np.array([3, 4, 5])):
        assert [len(rows) for rows in epoch] == [3]


# --- a whole training --------------------------------------------------------------------------------------------


REVIEWS = tiny_models.reviews()[::8]
TEXTS, TARGETS = [row["text"] for row in REVIEWS], [float(row["label"] == "positive") for row in REVIEWS]


def taught(bert: Path, folder: Path, given: StudentRecipe) -> tuple[Network, list[dict[str, float]]]:
    torch.manual_seed(0)
    teacher = load.load(str(bert), CLASSES, Reading(48))[0]
    words = vocabulary.trim(teacher.tokenizer, [teacher.tokenize(TEXTS)])
    student = initialise.create(teacher, Shape(2, 32, 4, 32), tokenizer=words.tokenizer, kept=words.kept, seed=0)
    rows = split(TEXTS, TARGETS)
    told = signals.record(teacher, [rows], Recording(2), folder=folder / "signals", progress=Silent())
    state = distil.distil(
        student,
        distil.transfer_set(student, [rows], told),
        told,
        rows,
        given,
        seed=0,
        folder=folder / "training",
        progress=Silent(),
    )
    return student, state.history


def same(one: Network, other: Network) -> bool:
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("by", ["confidence", "length", "loss"])
def test_killed_in_the_midst_of_it_the_weights_are_the_same(
    by: str, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(curriculum=by, hidden=0.0, checkpoint_minutes=1e-9, learning_rate=3e-3, epochs=2)
    whole, history = taught(bert, tmp_path / "whole", given)
    plain, _ = taught(bert, tmp_path / "plain", given.model_copy(update={"curriculum": None}))
    assert not same(whole, plain)
    with monkeypatch.context() as patched:
        patched.setattr(loop._Training, "_step", killed_at(5, loop._Training._step))
        with pytest.raises(Killed):
            taught(bert, tmp_path / "cut", given)
    again, found = taught(bert, tmp_path / "cut", given)
    assert found == history
    assert same(whole, again)
