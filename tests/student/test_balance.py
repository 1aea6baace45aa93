"""How a student learns is chosen by trials: the default stays unless something is surely better."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tiny_recipe import recipe
from tutelage import pipeline, yaml_text
from tutelage import recipe as recipes
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording, Signals, write_shard
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.errors import RecipeError
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.student import balance, distil, initialise
from tutelage.student.balance import DEFAULT, LABELS, Trials, Way
from tutelage.student.build import Shape
from tutelage.student.matching import Plan
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import load

REVIEWS = tiny_models.reviews()
TEXTS = [row["text"] for row in REVIEWS]
LABELS_OF = [float(row["label"] == "positive") for row in REVIEWS]
CLASSES = TextClassification(("negative", "positive"))
SHAPE = Shape(1, 32, 4, 32)


def trials(bert: Path, folder: Path, task: Task, targets: list[float], said: np.ndarray | None = None) -> Trials:
    """Trials for a teacher that says what it is told to say (N, K), or knows the labels."""
    torch.manual_seed(0)
    teacher = load.load(str(bert), task, Reading(48))[0]
    train, validation = slice(0, None, 2), slice(1, None, 2)
    rows = split(TEXTS[train], targets[train])
    records = np.zeros(len(rows), dtype=Recording(task.width, ()).dtype)
    records["key"], records["outputs"] = rows.keys, said[train] if said is not None else _knowing(targets[train])
    (folder / "signals").mkdir(parents=True)
    write_shard(folder / "signals", 0, records)
    told, _ = Signals.open(folder / "signals", Recording(task.width, ()))

    def start() -> Network:
        words = vocabulary.trim(teacher.tokenizer, [teacher.tokenize(TEXTS)])
        return initialise.create(teacher, SHAPE, tokenizer=words.tokenizer, kept=words.kept, seed=0)

    return Trials(
        start,
        distil.transfer_set(start(), [rows], told),
        told,
        Plan(),
        split(TEXTS[validation], targets[validation]),
        StudentRecipe(hidden=0, epochs=3, learning_rate=3e-3),
        0,
        folder / "trials",
        Silent(),
    )


def _knowing(targets: list[float]) -> np.ndarray:
    sure = np.array(targets)[:, None] * 4 - 2
    return np.concatenate([-sure, sure], axis=1)


def test_the_default_comes_first_and_the_labels_alone_are_always_there() -> None:
    for task in (CLASSES, TextRegression(0.0, 1.0)):
        names = [way.name for way in balance.ways(task)]
        assert names[:2] == [DEFAULT, LABELS]
        assert len(names) == len(set(names)) > 2
        for way in balance.ways(task):
            StudentRecipe(**{"balance": "given", **way.settings})


def test_losses_that_a_head_cannot_take_are_left_out() -> None:
    def tried(task: Task) -> set[str]:
        return {str(way.settings["loss"]) for way in balance.ways(task) if "loss" in way.settings}

    assert tried(CLASSES) == {"logit-mse"}
    assert tried(TextClassification(("a", "b", "c"))) == {"logit-mse", "dkd"}
    assert not tried(TextRegression(0.0, 1.0))


@dataclass(frozen=True)
class Scripted(Trials):
    """Trials of a known end: the mean loss under each way, and how much rows differ."""

    ends: dict[str, float] = field(default_factory=dict)
    noise: float = 0.1

    def screen(self) -> dict[str, np.ndarray]:
        return {way.name: np.full(4, self.ends.get(way.name, 9.0)) for way in balance.ways(self.task)}

    def pilot(self, way: Way) -> np.ndarray:
        rows = np.random.default_rng(len(way.name)).normal(0, self.noise, 400)
        return self.ends.get(way.name, 9.0) + rows - rows.mean()


def scripted(bert: Path, folder: Path, noise: float, **ends: float) -> tuple[Way, dict]:
    names = {"default": DEFAULT, "labels": LABELS, "half": "half teacher, half labels", "warm": "temperature 2"}
    given = trials(bert, folder, CLASSES, LABELS_OF)
    return balance.choose(Scripted(**vars(given), ends={names[key]: end for key, end in ends.items()}, noise=noise))


def test_only_what_is_better_by_more_than_its_noise_takes_the_place_of_the_default(bert: Path, tmp_path: Path) -> None:
    surely, choice = scripted(bert, tmp_path / "1", 0.1, default=0.5, labels=0.6, half=0.4)
    assert surely.name == choice["taken"] == "half teacher, half labels"
    gain, error = choice["figures"]["gain"][surely.name], choice["figures"]["standard_error"][surely.name]
    assert gain == pytest.approx(0.1)
    assert 0 < error < gain
    assert scripted(bert, tmp_path / "2", 20.0, default=0.5, labels=0.6, half=0.4)[0].name == DEFAULT
    assert scripted(bert, tmp_path / "3", 0.1, default=0.5, labels=0.6, half=0.7)[0].name == DEFAULT


def test_no_distillation_is_taken_where_it_is_better(bert: Path, tmp_path: Path) -> None:
    taken, choice = scripted(bert, tmp_path, 0.1, default=0.5, labels=0.3, half=0.4)
    assert taken.name == LABELS
    assert taken.settings == {"alpha": 0.0, "hidden": 0.0, "attention": 0.0, "relations": 0.0}
    assert "labels alone 0.3000 (-0.2000" in choice["why"]


def test_the_linear_round_says_which_other_way_the_student_tries(bert: Path, tmp_path: Path) -> None:
    _, choice = scripted(bert, tmp_path, 0.1, default=0.5, labels=0.6, half=0.45, warm=0.44)
    assert set(choice["figures"]["after_trial"]) == {DEFAULT, LABELS, "temperature 2"}


def test_a_teacher_that_talks_nonsense_teaches_a_linear_model_nothing(bert: Path, tmp_path: Path) -> None:
    screened = trials(bert, tmp_path, CLASSES, LABELS_OF, _knowing([1 - label for label in LABELS_OF])).screen()
    gain, error = balance.better(screened[LABELS], screened[DEFAULT])
    assert gain > error > 0


def test_a_teacher_that_knows_more_than_the_labels_is_kept(bert: Path, tmp_path: Path) -> None:
    """The labels of the training rows are drawn by lot; the teacher knows the real ones."""
    random = np.random.default_rng(0)
    labels = list(LABELS_OF)
    labels[::2] = [float(label) for label in random.integers(0, 2, len(labels[::2]))]
    given = trials(bert, tmp_path, CLASSES, labels, _knowing(LABELS_OF))
    screened = given.screen()
    assert screened[DEFAULT].mean() < screened["half teacher, half labels"].mean() < screened[LABELS].mean()


def test_a_trial_is_the_same_every_time_and_leaves_the_start_alone(bert: Path, tmp_path: Path) -> None:
    given = trials(bert, tmp_path, CLASSES, LABELS_OF)
    way = balance.ways(CLASSES)[0]
    first = given.pilot(way)
    again = trials(bert, tmp_path / "again", CLASSES, LABELS_OF).pilot(way)
    assert np.array_equal(first, again)
    assert len(first) == len(TEXTS[1::2])


def test_a_difference_has_the_error_of_its_mean() -> None:
    one, other = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 5.0, 5.0])
    assert balance.better(one, other) == pytest.approx((1.0, np.std([1, 0, 2, 1], ddof=1) / 2))
    assert balance.better(one, one) == (0.0, 0.0)


# --- in a recipe ---------------------------------------------------------------------------------------------------


def student(**given: object) -> StudentRecipe:
    value = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", "student": given}
    return recipes.load(value).student


def test_what_is_given_is_not_chosen() -> None:
    assert student().balance == "auto"
    assert student(alpha=0.5).balance == "given"
    assert student(temperature=2.0).balance == "given"
    assert student(hidden=0.0, epochs=2).balance == "auto"
    assert student(alpha=1.0).balance == "auto"
    with pytest.raises(RecipeError, match="balance: auto` chooses alpha and loss itself"):
        student(balance="auto", alpha=0.5, loss="kl")


def test_a_recipe_written_out_is_the_same_again() -> None:
    for given in ({}, {"alpha": 0.3}, {"balance": "given"}):
        value = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", "student": given}
        made = recipes.load(value)
        assert recipes.load(yaml_text.read(recipes.dump(made))) == made


def test_a_run_tells_what_was_chosen_and_does_not_try_again(reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = recipe(reviews, bert, tmp_path / "run", student={"balance": "auto"})
    run = pipeline.run(given)
    found = next(choice for choice in run.measurements.choices if choice.what == "way to learn")
    assert found.taken in {way.name for way in balance.ways(CLASSES)}
    assert set(found.figures["after_trial"]) >= {DEFAULT, LABELS}
    assert "way to learn" in (run.path / "report.html").read_text()
    assert run.measurements.times["balance"] is not None

    titles = []

    class Listener(Silent):
        def bar(self, title: str, total: float):
            titles.append(title)
            return super().bar(title, total)

    pipeline.run({**given, "student": {**given["student"], "control": False}}, resume=True, progress=Listener())
    assert titles
    assert not [title for title in titles if "ways to learn" in title]
