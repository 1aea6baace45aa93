"""How a student learns is chosen by measuring: the default stays unless something is surely better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from listener import Listener
from splits import split
from tiny_recipe import recipe
from tutelage import pipeline, yaml_text
from tutelage import recipe as recipes
from tutelage.artifacts.corpus import Split
from tutelage.artifacts.signals import Recording, Signals, write_shard
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.errors import RecipeError
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.student import balance, beside, distil, initialise
from tutelage.student.balance import ALONE, HALF, LABELS, SOFT, WARM
from tutelage.student.build import Shape
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import load

REVIEWS = tiny_models.reviews()
TEXTS = [row["text"] for row in REVIEWS]
LABELS_OF = [float(row["label"] == "positive") for row in REVIEWS]
CLASSES = TextClassification(("negative", "positive"))
SHAPE = Shape(1, 32, 4, 32)


def screened(
    bert: Path,
    folder: Path,
    targets: list[float],
    said: np.ndarray,
    *,
    texts: list[str] = TEXTS,
    validation_rows: int | None = None,
    copies: bool = False,
) -> dict[str, np.ndarray]:
    """What `screen` finds for a teacher that says what it is told to say (N, K) of the training rows.

    With copies, of a copy of each of them too.
    """
    torch.manual_seed(0)
    teacher = load.load(str(bert), CLASSES, Reading(48))[0]
    rows = split(texts[::2], targets[::2])
    splits, told_of = [rows], said[::2]
    if copies:
        changed = [f"{text} indeed" for text in texts[::2]]
        splits.append(Split.unlabelled("more", changed, ["copy: swap"] * len(rows), [*range(1, len(rows) + 1)]))
        told_of = np.concatenate([told_of, told_of])
    records = np.zeros(len(told_of), dtype=Recording(2, ()).dtype)
    records["key"], records["outputs"] = np.concatenate([some.keys for some in splits]), told_of
    folder.mkdir(exist_ok=True)
    write_shard(folder, 0, records)
    told, _ = Signals.open(folder, Recording(2, ()))
    words = vocabulary.trim(teacher.tokenizer, [teacher.tokenize(texts)])
    student = initialise.create(teacher, SHAPE, tokenizer=words.tokenizer, kept=words.kept, seed=0)
    transfer = distil.transfer_set(student, splits, told)
    validation = split(texts[1::2][:validation_rows], targets[1::2][:validation_rows])
    return balance.screen(student, transfer, told, validation, StudentRecipe(), progress=Silent())


def test_only_labels_of_ones_own_choose_how_to_learn(tmp_path: Path) -> None:
    """Neither those that came with another data set, nor what a model guessed."""
    ours, theirs = split(TEXTS[:4]), Split.unlabelled("more", TEXTS[4:6], ["theirs.csv", "ours.csv"], [1, 2])
    given: dict[str, Any] = {
        "task": "text-classification",
        "data": {"train": "memory", "more": [{"source": "theirs.csv"}]},
        "output": str(tmp_path),
    }
    found = balance.judges(recipes.load(given), [ours, theirs])
    assert found.tolist() == [True] * 4 + [False, True]
    labels = {"labels": {"negative": "bad", "positive": "good"}, "model": "nli"}
    parts = dict.fromkeys(("train", "validation", "test"), "memory")
    guessed = {**given, "teacher": {"zero_shot": labels}, "data": parts}
    assert not balance.judges(recipes.load(guessed), [ours, theirs]).any()


def test_rows_that_may_not_judge_are_left_out_of_the_exams() -> None:
    dealt, known = np.arange(20) % beside.FOLDS, np.arange(10)
    exams = balance._exams(known, np.zeros(20, dtype=bool), dealt, missing=100)
    assert sorted(np.concatenate([held for _, held in exams])) == known.tolist()
    # What may not judge is learned from all the same.
    assert all(set(range(10, 20)) <= set(learned.tolist()) for learned, _ in exams)


@pytest.mark.parametrize(("missing", "exams"), [(-3, 1), (0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (17, 5), (1000, 5)])
def test_no_more_rows_are_held_out_than_are_missing(missing: int, exams: int) -> None:
    dealt, copied = np.arange(40) % beside.FOLDS, np.arange(40) >= 20
    found = balance._exams(np.arange(20), copied, dealt, missing=missing)
    held = np.concatenate([some for _, some in found])
    assert len(found) == exams
    assert len(held) == len(set(held.tolist())) == (0 if missing <= 0 else 4 * exams)
    for learned, some in found:
        assert not set(learned.tolist()) & set(some.tolist())
        # Copies know the labels of what is held out.
        assert bool(copied[learned].any()) == (missing <= 0)


def _knowing(targets: list[float]) -> np.ndarray:
    sure = np.array(targets)[:, None] * 4 - 2
    return np.concatenate([-sure, sure], axis=1)


def names(task: Task) -> list[str]:
    return [way.name for group in balance.ways(task) for way in group]


def test_the_default_comes_first_and_the_labels_alone_after_all_fixed_mixtures() -> None:
    assert WARM.name in names(CLASSES)
    for task in (CLASSES, TextRegression(0.0, 1.0)):
        assert names(task)[0] == (HALF if task.outputs == "scores" else ALONE).name
        assert [name for name in names(task) if name != SOFT.name][-1] == LABELS.name
        assert len(names(task)) == len(set(names(task))) > 2
        for way in (way for group in balance.ways(task) for way in group):
            StudentRecipe(**{"balance": "given", **way.settings})


def test_losses_that_a_head_cannot_take_are_left_out() -> None:
    def tried(task: Task) -> set[str]:
        return {str(way.settings["loss"]) for group in balance.ways(task) for way in group if "loss" in way.settings}

    assert tried(CLASSES) == {"logit-mse"}
    assert tried(TextClassification(("a", "b", "c"))) == {"logit-mse", "dkd"}
    assert not tried(TextRegression(0.0, 1.0))


def found(noise: float = 0.1, rows: int = 400, **ends: float) -> dict[str, np.ndarray]:
    """Losses of known means, and how much rows differ from way to way."""
    short = {"default": HALF.name, "labels": LABELS.name, "alone": ALONE.name, "soft": SOFT.name}
    means = dict.fromkeys(names(CLASSES), 9.0) | {short[key]: end for key, end in ends.items()}
    random = np.random.default_rng(0)
    drawn = {name: random.normal(0, noise, rows) for name in means}
    return {name: mean + drawn[name] - drawn[name].mean() for name, mean in means.items()}


def test_only_what_is_better_by_twice_its_noise_takes_the_place_of_the_default() -> None:
    taken, choice = balance.decide(CLASSES, found(default=0.5, labels=0.6, alone=0.4))
    assert taken.name == choice["taken"] == ALONE.name
    assert choice["figures"]["gain"] == pytest.approx(0.1)
    assert 0 < choice["figures"]["standard_error"] < 0.1
    assert "-0.1000 ±" in choice["why"]
    taken, choice = balance.decide(CLASSES, found(20.0, default=0.5, labels=0.6, alone=0.4))
    assert taken.name == HALF.name
    assert "by two standard errors; the closest, the teacher alone: -0.1000 ±" in choice["why"]
    assert choice["figures"]["gain"] < 2 * choice["figures"]["standard_error"]
    assert balance.decide(CLASSES, found(default=0.5, labels=0.6, alone=0.7))[0].name == HALF.name


def test_guessed_labels_and_values_must_surely_be_worth_following() -> None:
    losses = found(0.01, default=0.5, alone=0.5)
    assert balance.decide(CLASSES, losses)[0] == HALF
    assert balance.decide(CLASSES, losses, guessed=True)[0] == ALONE
    assert balance.decide(CLASSES, found(0.01, default=0.4, alone=0.5), guessed=True)[0] == HALF
    values = TextRegression(0.0, 1.0)
    assert balance.decide(values, {name: losses[name] for name in names(values)})[0] == ALONE


def test_the_labels_alone_are_taken_only_where_they_beat_mixtures_too() -> None:
    taken, _ = balance.decide(CLASSES, found(default=0.5, alone=0.4, labels=0.3))
    assert taken.name == LABELS.name
    assert taken.settings == {"alpha": 0.0, "hidden": 0.0, "attention": 0.0, "relations": 0.0}
    assert balance.decide(CLASSES, found(default=0.5, alone=0.4, labels=0.395))[0].name == ALONE.name


def test_weighted_soft_labels_are_taken_only_where_they_beat_whatever_else_was_taken() -> None:
    for others in ({"alone": 0.4}, {"alone": 0.4, "labels": 0.3}, {}):
        before, _ = balance.decide(CLASSES, found(default=0.5, **others))
        least = min([0.5, *others.values()])
        assert balance.decide(CLASSES, found(default=0.5, soft=least - 0.1, **others))[0] == SOFT
        assert balance.decide(CLASSES, found(default=0.5, soft=least - 0.005, **others))[0] == before


def test_a_teacher_that_talks_nonsense_is_not_followed(bert: Path, tmp_path: Path) -> None:
    losses = screened(bert, tmp_path / "told", LABELS_OF, _knowing([1 - label for label in LABELS_OF]))
    gain, error = balance.better(losses[LABELS.name], losses[ALONE.name])
    assert gain > error > 0
    assert balance.decide(CLASSES, losses)[0].settings["alpha"] < 1
    ends = found(0.001, default=0.7, labels=0.5)
    assert balance.decide(CLASSES, ends)[0] == LABELS


def test_where_validation_rows_are_few_training_rows_that_were_held_out_tell_too(bert: Path, tmp_path: Path) -> None:
    nonsense = _knowing([1 - label for label in LABELS_OF])
    plain = [f"a {'good' if label else 'bad'} film, {text}" for text, label in zip(TEXTS, LABELS_OF, strict=True)]
    losses = screened(bert, tmp_path / "few", LABELS_OF, nonsense, texts=plain, validation_rows=8)
    assert {len(found) for found in losses.values()} == {8 + len(TEXTS[::2])}
    taken, _ = balance.decide(CLASSES, losses)
    assert taken.settings["alpha"] < 1


def test_copies_do_not_tell_the_labels_of_texts_that_are_held_out(bert: Path, tmp_path: Path) -> None:
    """A teacher that knows its own training rows by heart and nothing else: their labels were drawn by lot."""
    random = np.random.default_rng(0)
    labels = [float(label) for label in random.integers(0, 2, len(TEXTS))]
    losses = screened(bert, tmp_path / "told", labels, _knowing(labels), validation_rows=8, copies=True)
    # Nobody can know more of them than that there are two classes.
    assert losses[ALONE.name][8:].mean() > 0.95 * np.log(2)
    assert losses[HALF.name][8:].mean() > 0.95 * np.log(2)


def test_rows_that_are_drawn_twice_do_not_tell_their_labels(bert: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = [float(label) for label in random.integers(0, 2, len(TEXTS))]
    # Of neighbouring rows one would be held out, and the other learned from.
    texts, twice = (np.repeat(np.array(some)[::2], 4).tolist() for some in (TEXTS, labels))
    losses = screened(bert, tmp_path / "told", twice, _knowing(twice), texts=texts, validation_rows=8)
    assert losses[LABELS.name][8:].mean() > 0.95 * np.log(2)


def test_the_teachers_part_is_weighed_row_by_row_where_that_is_the_way(bert: Path, tmp_path: Path) -> None:
    losses = screened(bert, tmp_path / "told", LABELS_OF, _knowing([1 - label for label in LABELS_OF]))
    # Nonsense weighs less where the labels are learned: no teacher is asked there.
    assert losses[SOFT.name].mean() < losses[HALF.name].mean() < losses[ALONE.name].mean()


def test_enough_validation_rows_need_no_help(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance, "_ENOUGH", len(TEXTS[1::2]))
    losses = screened(bert, tmp_path / "enough", LABELS_OF, _knowing(LABELS_OF))
    assert {len(found) for found in losses.values()} == {len(TEXTS[1::2])}


def test_a_teacher_that_knows_more_than_the_labels_is_followed(bert: Path, tmp_path: Path) -> None:
    """The labels of the training rows are drawn by lot; the teacher knows the real ones."""
    random = np.random.default_rng(0)
    labels = list(LABELS_OF)
    labels[::2] = [float(label) for label in random.integers(0, 2, len(labels[::2]))]
    losses = screened(bert, tmp_path / "told", labels, _knowing(LABELS_OF))
    assert losses[ALONE.name].mean() < losses[HALF.name].mean() < losses[LABELS.name].mean()
    assert balance.decide(CLASSES, losses)[0] != LABELS


def test_what_is_found_is_the_same_every_time(bert: Path, tmp_path: Path) -> None:
    once, again = (screened(bert, tmp_path / name, LABELS_OF, _knowing(LABELS_OF)) for name in ("one", "two"))
    assert once.keys() == again.keys() == set(names(CLASSES))
    assert all(np.array_equal(once[name], again[name]) for name in once)


def test_rows_without_a_label_teach_what_the_teacher_says(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance, "_ENOUGH", 0)
    half: list[float] = [np.nan if number % 4 == 0 else label for number, label in enumerate(LABELS_OF)]
    losses = screened(bert, tmp_path / "told", half, _knowing(LABELS_OF))
    assert all(np.isfinite(found).all() for found in losses.values())
    every = screened(bert, tmp_path / "every", LABELS_OF, _knowing(LABELS_OF))
    assert np.array_equal(losses[ALONE.name], every[ALONE.name])
    assert not np.array_equal(losses[LABELS.name], every[LABELS.name])


def test_a_difference_has_the_error_of_its_mean() -> None:
    one, other = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 5.0, 5.0])
    assert balance.better(one, other) == pytest.approx((1.0, np.std([1, 0, 2, 1], ddof=1) / 2))
    assert balance.better(one, one) == (0.0, 0.0)


def test_many_outputs_learn_from_fewer_rows() -> None:
    assert np.array_equal(balance.sample(500, 2), np.arange(500))
    sizes = {outputs: len(balance.sample(10**6, outputs)) for outputs in (2, 77, 5000)}
    assert sizes == {2: 20_000, 77: 200_000 // 77, 5000: 1000}
    assert balance.sample(10**6, 77)[[0, -1]].tolist() == [0, 10**6 - 1]


def test_thousands_of_texts_without_a_label_leave_the_labels() -> None:
    known = np.arange(102_000) % 51 == 0
    places, counts = balance.drawn(known, 2)
    assert known[places].sum() == known.sum() == 2000
    assert len(places) == 22_000
    assert (np.diff(places) > 0).all()
    # Each side weighs as much as all of its texts would.
    assert counts[known[places]].sum() == pytest.approx(2000)
    assert counts[~known[places]].sum() == pytest.approx(100_000)
    few, once = balance.drawn(known[:500], 2)
    assert few.tolist() == list(range(500))
    assert set(once.tolist()) == {1.0}


# --- in a recipe ---------------------------------------------------------------------------------------------------


def student(**given: object) -> StudentRecipe:
    value = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", "student": given}
    return recipes.load(value).student


def test_what_is_given_is_not_chosen() -> None:
    assert student().balance == "auto"
    assert student(alpha=0.5).balance == "given"
    assert student(temperature=2.0).balance == "given"
    assert student(hidden=0.0, epochs=2).balance == "auto"
    # What happens to be the default is all the same what was asked for, unless it says `auto` in so many words.
    assert student(alpha=1.0).balance == "given"
    assert student(stages=[{"epochs": 1}]).balance == "given"
    assert student(loss="auto", stages=None).balance == "auto"
    with pytest.raises(RecipeError, match="balance: auto` chooses alpha and loss itself"):
        student(balance="auto", alpha=0.5, loss="kl")


def test_a_recipe_written_out_is_the_same_again() -> None:
    for given in ({}, {"alpha": 0.3}, {"alpha": 1.0}, {"balance": "given"}):
        value = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", "student": given}
        made = recipes.load(value)
        assert recipes.load(yaml_text.read(recipes.dump(made))) == made


@pytest.mark.usefixtures("only_what_is_deployed")
def test_a_run_tells_what_was_chosen_and_does_not_try_again(reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = recipe(reviews, bert, tmp_path / "run", student={"balance": "auto"})
    run = pipeline.run(given)
    told = next(choice for choice in run.measurements.choices if choice.what == "way to learn")
    assert told.taken in names(CLASSES)
    assert set(told.figures["linear"]) == set(names(CLASSES))
    assert "way to learn" in (run.path / "report.html").read_text()
    assert run.measurements.times["balance"] is not None

    listener = Listener()
    pipeline.run({**given, "student": {**given["student"], "control": False}}, resume=True, progress=listener)
    assert listener.done
    assert not [title for title in listener.done if "ways to learn" in title]
