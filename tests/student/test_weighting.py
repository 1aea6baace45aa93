"""Terms weigh as given, by what is learned of them, or row by row; temperatures fall; a kill changes nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny_models
from splits import split
from tiny_training import Killed, killed_at
from tutelage import recipe as recipes
from tutelage import refuse
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording, Signals
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.errors import RecipeError
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.student import decline, distil, initialise, weighting
from tutelage.student.build import Shape
from tutelage.student.losses import LOSSES
from tutelage.student.weighting import TERMS, Term
from tutelage.tasks import TextClassification, TextRegression
from tutelage.teacher import load, signals
from tutelage.training import loop

REVIEWS = tiny_models.reviews()[::8]
TEXTS = [row["text"] for row in REVIEWS]
LABELS = [float(row["label"] == "positive") for row in REVIEWS]
CLASSES = TextClassification(("negative", "positive"))


def terms(*means: float, rows: int = 4) -> list[Term]:
    """Terms of some mean losses, each of weight 1."""
    spread = torch.linspace(0.5, 1.5, rows)
    return [Term(name, 1.0, mean * spread) for name, mean in zip(TERMS, means, strict=False)]


def rested(given: list[Term]) -> torch.Tensor:
    """The log-variances at which nothing pulls at them."""
    found = torch.zeros(len(TERMS))
    for term in given:
        found[TERMS.index(term.name)] = math.log(float(term.rows.detach().mean()) + weighting._FLOOR)
    return found.requires_grad_()


# --- a sum of terms ----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 10), min_size=1, max_size=5))
def test_from_the_start_uncertainty_weighs_as_given(means: list[float]) -> None:
    made = terms(*means)
    plain, learned = weighting.total(made), weighting.total(made, torch.zeros(len(TERMS)))
    assert float(learned) == pytest.approx(float(plain), rel=1e-5, abs=1e-5)
    assert float(plain) == pytest.approx(4 * sum(means), rel=1e-5)


def test_log_variances_rest_where_a_term_counts_one_over_its_mean() -> None:
    made = terms(0.5, 0.1, 3.0)
    doubts = rested(made)
    weighting.total(made, doubts).backward()
    assert doubts.grad is not None
    assert doubts.grad.abs().max() < 1e-5
    factors = weighting.factors(doubts)
    assert factors["teacher"] == pytest.approx(1 / 0.51)
    assert factors["hidden"] == pytest.approx(1 / 3.01)
    moved = doubts.detach().add(0.1).requires_grad_()
    assert weighting.total(made, moved) > weighting.total(made, doubts)


@given(st.lists(st.floats(-30, 30), min_size=5, max_size=5))
def test_what_terms_are_multiplied_by_stays_positive(doubts: list[float]) -> None:
    assert all(factor > 0 for factor in weighting.factors(torch.tensor(doubts)).values())


def test_a_term_that_is_nearly_nothing_never_counts_more_than_a_hundred_times() -> None:
    doubts = rested(terms(1e-9))
    assert weighting.factors(doubts)["teacher"] == pytest.approx(1 / weighting._FLOOR)


def test_the_recipes_weights_still_count() -> None:
    """At rest a term that weighs three times as much pulls three times as hard, whatever its size."""
    slopes = []
    for size, weight in ((0.2, 1.0), (7.0, 3.0)):
        losses = torch.full((4,), size, requires_grad=True)
        made = [Term("hidden", weight, losses)]
        weighting.total(made, rested(made).detach()).backward()
        assert losses.grad is not None
        slopes.append(float(losses.grad.sum()) * (size + weighting._FLOOR))
    assert slopes[1] == pytest.approx(3 * slopes[0], rel=1e-5)


# --- a teacher's worth, row by row -------------------------------------------------------------------------------


def test_of_a_sure_student_a_teacher_is_not_asked_and_without_a_label_always() -> None:
    outputs = torch.tensor([[0.0, 40.0], [0.0, 1.0], [0.0, 1.0], [4.0, -4.0]])
    said = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 40.0]])
    labels = torch.tensor([1.0, 1.0, math.nan, 1.0])
    found = weighting.worth_following(outputs, said, labels, CLASSES)
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[1] == pytest.approx(1 - math.exp(-1))  # as sure as the teacher
    assert found[2] == 1
    assert found[3] == pytest.approx(1)  # a perfect teacher
    assert found.isfinite().all()


@given(st.floats(-20, 20), st.floats(-20, 20), st.sampled_from([0.0, 1.0, math.nan]))
def test_a_teachers_worth_is_a_share_without_a_slope(ours: float, theirs: float, label: float) -> None:
    outputs = torch.tensor([[0.0, ours]], requires_grad=True)
    found = weighting.worth_following(outputs, torch.tensor([[0.0, theirs]]), torch.tensor([label]), CLASSES)
    assert 0 <= float(found.detach()) <= 1
    assert not found.requires_grad


# --- a temperature that falls ------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["linear", "inverse"])
def test_the_temperature_falls_to_one(schedule: str) -> None:
    settings = StudentRecipe(temperature=5.0, temperature_schedule=schedule)  # type: ignore[arg-type]
    found = [decline.temperature(settings, done / 20) for done in range(21)]
    assert found[0] == pytest.approx(5)
    assert found[-1] == pytest.approx(1)
    assert found == sorted(found, reverse=True)
    even = found if schedule == "linear" else [1 / temperature for temperature in found]
    assert np.allclose(np.diff(even), np.diff(even)[0])


def test_a_constant_temperature_stays() -> None:
    assert {decline.temperature(StudentRecipe(temperature=3.0), done) for done in (0.0, 0.5, 1.0)} == {3.0}


def test_cooled_logits_are_followed_as_they_are_in_the_end() -> None:
    ours, theirs = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[3.0, -1.0, 0.0]])
    cooled, plain = (LOSSES[name].compute for name in ("annealed-mse", "logit-mse"))
    none = torch.tensor([math.nan])
    assert cooled(ours, theirs, none, 1.0) == pytest.approx(plain(ours, theirs, none, 1.0))
    assert cooled(theirs / 4 + 7, theirs, none, 4.0) == pytest.approx(0, abs=1e-12)
    assert cooled(theirs, theirs, none, 4.0) > 0.01
    # The caller multiplies by the square of the temperature, which leaves the paper's plain square, halved.
    difference = ours - theirs / 4
    expected = (difference - difference.mean()).square().mean() / 2
    assert 16 * cooled(ours, theirs, none, 4.0) == pytest.approx(float(expected))


# --- in a training -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher(bert: Path) -> Network:
    torch.manual_seed(0)
    network = load.load(str(bert), CLASSES, Reading(48))[0]
    with torch.no_grad():
        network.model.classifier.weight.mul_(300)
    return network


@pytest.fixture(scope="module")
def told(teacher: Network, tmp_path_factory: pytest.TempPathFactory) -> Signals:
    folder = tmp_path_factory.mktemp("signals")
    return signals.record(teacher, [rows()], Recording(2, (2, 4), 32), folder=folder, progress=Silent())


def rows() -> Any:
    return split(TEXTS, [*LABELS[:-10], *[None] * 10])


def taught(teacher: Network, told: Signals, folder: Path, **changes: Any) -> tuple[Network, list[dict[str, float]]]:
    words = vocabulary.trim(teacher.tokenizer, [teacher.tokenize(TEXTS)])
    student = initialise.create(teacher, Shape(2, 32, 4, 32), tokenizer=words.tokenizer, kept=words.kept, seed=0)
    settings = {"epochs": 2, "learning_rate": 3e-3, "batch_size": 8, "patience": None, "checkpoint_minutes": 1e-9}
    state = distil.distil(
        student,
        distil.transfer_set(student, [rows()], told),
        told,
        split(TEXTS, LABELS),
        StudentRecipe.model_validate({**settings, **changes}),
        seed=0,
        folder=folder,
        progress=Silent(),
    )
    return student, state.history


def same(one: Network, other: Network) -> bool:
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "changes",
    [
        {"weighting": "uncertainty"},
        {"weighting": "wsl"},
        {"loss": "annealed-mse", "temperature": 4.0, "temperature_schedule": "inverse"},
    ],
    ids=["uncertainty", "wsl", "annealing"],
)
def test_each_changes_what_is_learned_and_goes_on_after_a_kill_as_if_there_had_been_none(
    changes: dict[str, Any], teacher: Network, told: Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"alpha": 0.5, **changes}
    whole, history = taught(teacher, told, tmp_path / "whole", **changes)
    plain, _ = taught(teacher, told, tmp_path / "plain", alpha=0.5)
    assert not same(whole, plain)
    with monkeypatch.context() as patched:
        patched.setattr(loop._Training, "_step", killed_at(5, loop._Training._step))
        with pytest.raises(Killed):
            taught(teacher, told, tmp_path / "cut", **changes)
    again, resumed = taught(teacher, told, tmp_path / "cut", **changes)
    assert resumed == history
    assert same(whole, again)


def test_the_history_tells_what_terms_came_to_weigh(teacher: Network, told: Signals, tmp_path: Path) -> None:
    _, history = taught(teacher, told, tmp_path, alpha=0.5, weighting="uncertainty", epochs=3)
    first, last = history[0], history[-1]
    assert last["factor_hidden"] > first["factor_hidden"] > 1  # its cosine distance is the smallest of the three
    assert first["factor_attention"] == 1  # weighs nothing
    _, plain = taught(teacher, told, tmp_path / "plain", epochs=1)
    assert not [key for key in plain[0] if key.startswith("factor")]


# --- in a recipe -------------------------------------------------------------------------------------------------


def recipe(**student: Any) -> recipes.Recipe:
    value = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", "student": student}
    return recipes.load(value)


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ({"weighting": "uncertainty", "hidden": 0.0}, "weighs terms against each other, and there is one"),
        ({"weighting": "wsl", "alpha": 0.0}, "weighs the teacher's term"),
        ({"temperature_schedule": "linear"}, "give `temperature` above 1"),
        ({"temperature_schedule": "linear", "temperature": 2.0, "loss": "logit-mse"}, "take `loss: annealed-mse`"),
    ],
)
def test_what_would_do_nothing_is_refused(student: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe(**student)


def test_a_part_of_the_labels_is_a_second_term() -> None:
    for changes in ({"alpha": 0.5}, {"alpha_schedule": "linear"}, {"stages": [{"epochs": 1, "alpha": 0.3}]}):
        assert recipe(weighting="uncertainty", hidden=0.0, **changes).student.balance == "given"


def test_values_have_no_certainty() -> None:
    student = StudentRecipe(weighting="wsl", temperature=2.0, temperature_schedule="linear")
    given = recipe().model_copy(update={"student": student})
    with pytest.raises(RecipeError) as caught:
        refuse.unfit(given, TextRegression)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "student.weighting",
        "student.temperature",
        "student.temperature_schedule",
    ]
    refuse.unfit(given.model_copy(update={"student": StudentRecipe(weighting="uncertainty")}), TextRegression)


def test_a_student_without_any_of_this_is_known_by_what_it_was_known_by_before() -> None:
    assert not {"weighting", "temperature_schedule"} & set(StudentRecipe().identity())
    assert StudentRecipe(weighting="wsl").identity()["weighting"] == "wsl"
