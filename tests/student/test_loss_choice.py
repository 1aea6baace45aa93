"""Choosing losses, layer maps and schedules by recipe: what fits is taken, what does not is told in words."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage import recipe as recipes
from tutelage import recipe_matching
from tutelage.errors import ModelError, RecipeError
from tutelage.recipe import StudentRecipe
from tutelage.student import decline, losses, matching
from tutelage.student.losses import ATTENTION_LOSSES, HIDDEN_LOSSES, LOSSES
from tutelage.tasks import TASKS, TextClassification, TextRegression

TWO, THREE = (TextClassification(tuple("abc"[:count])) for count in (2, 3))
VALUE = TextRegression(0.0, 1.0)


def settings(**changes: Any) -> StudentRecipe:
    return StudentRecipe.model_validate(changes)


# --- the tables --------------------------------------------------------------------------------------------------


def test_the_recipe_knows_every_loss_and_no_other() -> None:
    assert set(get_args(recipes.OutputLossName)) == set(LOSSES)
    assert set(get_args(recipe_matching.HiddenLossName)) == set(HIDDEN_LOSSES)
    assert set(get_args(recipe_matching.AttentionLossName)) == set(ATTENTION_LOSSES)
    assert {name for name, entry in HIDDEN_LOSSES.items() if entry.compares_rows} == set(recipe_matching._OF_TEXTS)


def test_every_task_has_a_loss_of_its_own_that_fits() -> None:
    for task in TASKS.values():
        assert losses.choose("auto", task) is LOSSES[task.default_loss]


def test_losses_that_compare_rows_are_these() -> None:
    """Each is told apart by tests of its company; this is the list that the guide shows."""
    together = [name for table in (LOSSES, HIDDEN_LOSSES) for name, entry in table.items() if entry.compares_rows]
    assert together == ["dist", "relational", "similarity", "contrastive"]


# --- what fits a task --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_fits_tasks_whose_outputs_it_compares(name: str) -> None:
    good, bad = (THREE, VALUE) if LOSSES[name].outputs == "scores" else (VALUE, THREE)
    assert losses.choose(name, good) is losses.choose(name, type(good)) is LOSSES[name]
    for task in (bad, type(bad)):
        with pytest.raises(RecipeError, match=f"student.loss: '{name}' does not fit {bad.name}") as caught:
            losses.choose(name, task)
        assert bad.default_loss in str(caught.value)


def test_the_error_lists_what_fits() -> None:
    with pytest.raises(RecipeError) as caught:
        losses.choose("dkd", VALUE)
    assert caught.value.exit_code == 2
    assert caught.value.problems == (
        "student.loss: 'dkd' does not fit text-regression, whose head gives 1 quantities; these do: auto, huber, "
        "value-mse",
    )


def test_standardised_logits_need_three_classes() -> None:
    assert losses.choose("standardised", THREE) is LOSSES["standardised"]
    with pytest.raises(
        RecipeError, match="whose head gives 2 scores; these do: auto, soft-cross-entropy, kl"
    ) as caught:
        losses.choose("standardised", TWO)
    assert caught.value.problems[0].count("standardised") == 1


# --- the recipe --------------------------------------------------------------------------------------------------


def problems(**student: Any) -> list[str]:
    value = {"task": "text-classification", "data": {"train": "a.csv"}, "output": "o", "student": student}
    with pytest.raises(RecipeError) as caught:
        recipes.load(value)
    return list(caught.value.problems)


def test_left_out_it_is_as_it_was() -> None:
    made = settings()
    assert (made.loss, made.hidden_loss, made.layer_map, made.alpha_schedule) == (
        "auto",
        "cosine",
        "uniform",
        "constant",
    )


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    assert "'soft-cross-entropy', 'kl'" in problems(loss="hinton")[0]
    assert "'relational'" in problems(hidden_loss="rkd")[0]
    assert problems(alpha_schedule="exponential") == [
        "student.alpha_schedule: \"exponential\" was given; it must be 'constant', 'linear', 'cosine' or '1/t'"
    ]


def test_a_layer_map_is_a_name_or_numbers() -> None:
    assert settings(layer_map=[2, 4]).layer_map == [2, 4]
    assert settings(layer_map=6).layer_map == [6]
    assert settings(layer_map="last").layer_map == "last"
    for bad in ("first", [], [1.5], ["a"], True, [True]):
        assert all(problem.startswith("student.layer_map") for problem in problems(layer_map=bad))


# --- layer maps --------------------------------------------------------------------------------------------------


def test_the_last_layers_are_matched_in_order() -> None:
    assert matching.matched_layers(6, 2, "last") == [5, 6]
    assert matching.matched_layers(4, 4, "last") == [1, 2, 3, 4]
    assert matching.matched_layers(12, 1, "last") == [12]


def test_an_explicit_map_is_taken_as_it_stands() -> None:
    assert matching.matched_layers(6, 3, [0, 6, 2]) == [0, 6, 2]


@pytest.mark.parametrize("bad", [[3], [1, 2, 3], [0, 7], [-1, 6]])
def test_an_explicit_map_that_cannot_be_is_an_error(bad: list[int]) -> None:
    with pytest.raises(ModelError, match=r"2 numbers from 0 .* to 6") as caught:
        matching.matched_layers(6, 2, bad)
    assert str(bad) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_student_deeper_than_its_teacher_has_no_last_layers_to_match() -> None:
    assert len(matching.matched_layers(2, 3, "uniform")) == 3
    with pytest.raises(ModelError, match="at most as many as the teacher's 2"):
        matching.matched_layers(2, 3, "last")


# --- how alpha falls ---------------------------------------------------------------------------------------------


@given(st.floats(0, 1), st.floats(0, 1))
def test_constant_is_the_number_itself(alpha: float, done: float) -> None:
    assert decline.alpha(settings(alpha=alpha), done) == alpha


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0.8, 0.6, 0.4, 0.0]),
        ("cosine", [0.8, 0.4 * (1 + math.sqrt(0.5)), 0.4, 0.0]),
        ("1/t", [0.8, 0.4, 0.8 / 3, 0.8 / 5]),  # after 0, 1, 2 and 4 passes
    ],
)
def test_alpha_falls_as_the_guide_says(schedule: str, expected: list[float]) -> None:
    made = settings(alpha=0.8, alpha_schedule=schedule, epochs=4)
    assert [decline.alpha(made, done) for done in (0, 0.25, 0.5, 1)] == pytest.approx(expected)


@given(st.sampled_from(["linear", "cosine", "1/t"]), st.floats(0.01, 1), st.floats(0, 1), st.floats(0, 1))
def test_alpha_never_rises_and_stays_between_zero_and_its_start(
    schedule: str, alpha: float, one: float, other: float
) -> None:
    made = settings(alpha=alpha, alpha_schedule=schedule)
    early, late = (decline.alpha(made, done) for done in sorted((one, other)))
    assert alpha >= early >= late >= 0
    assert decline.alpha(made, 0.0) == alpha
