"""A training ends at the first epoch that reaches its level, keeps those weights, and says when it could not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tiny_models
from splits import split
from tiny_training import Killed, accuracy, fit, killed_at, loss, same, work
from tutelage.encoding import Reading
from tutelage.errors import RecipeError
from tutelage.progress import Silent
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.tasks import TextClassification, TextRegression
from tutelage.teacher import load
from tutelage.training import supervised, until

CLASSES, VALUES = TextClassification(("no", "yes")), TextRegression(0.0, 1.0)


def goal(**levels: float) -> until.Goal:
    found = until.goal(levels, CLASSES)
    assert found is not None
    return found


def history(*accuracies: float) -> list[dict[str, float]]:
    return [{"epoch": number + 1.0, "accuracy": figure} for number, figure in enumerate(accuracies)]


# --- what may be asked for ---------------------------------------------------------------------------------------


def test_no_level_is_no_goal() -> None:
    assert until.goal(None, CLASSES) is None
    assert until.told(None, history(0.5), epochs=1) == {"choices": [], "warnings": []}


def test_every_problem_is_told_with_the_metrics_there_are() -> None:
    with pytest.raises(RecipeError) as caught:
        until.goal({"accurracy": 0.9, "f1": 90, "recall": 0.5}, CLASSES)
    first, second = caught.value.problems
    assert "'accurracy' is no metric of text-classification" in first
    assert "accuracy, f1, precision" in first
    assert second.startswith("teacher.until.f1: 90 was given; it is a share")


def test_a_metric_in_the_users_unit_may_have_any_level() -> None:
    found = until.goal({"mae": 12.0, "pearson": 0.5}, VALUES)
    assert found is not None
    assert found.reached({"mae": 12.0, "pearson": 0.5})
    assert not found.reached({"mae": 12.1, "pearson": 0.5})
    assert not found.reached({"mae": 1.0, "pearson": 0.4})
    assert not found.reached({"pearson": 0.9})


def test_time_is_given_where_a_level_is_asked_for() -> None:
    assert TeacherRecipe().epochs == 2
    assert TeacherRecipe.model_validate({"until": {"accuracy": 0.9}}).epochs == 10
    assert TeacherRecipe.model_validate({"until": {"accuracy": 0.9}, "epochs": 3}).epochs == 3


# --- the loop ----------------------------------------------------------------------------------------------------


def rising(scores: list[float], figures: list[float], level: float) -> dict[str, Any]:
    """A training whose scores and figures are written down beforehand."""
    epoch = iter(range(100))
    at = {"epoch": -1}

    def validate(network: nn.Module) -> float:
        at["epoch"] = next(epoch)
        return scores[at["epoch"]]

    return {
        "validate": validate,
        "figures": lambda: {"level": figures[at["epoch"]]},
        "enough": lambda record: record["level"] >= level,
    }


def test_the_first_epoch_that_reaches_it_ends_it_and_its_weights_are_kept(tmp_path: Path) -> None:
    """Even where an earlier epoch had a better score."""
    given = rising([0.9, 0.5, 0.7, 1.0], [0.1, 0.2, 0.8, 0.9], 0.8)
    network, state = fit(tmp_path / "a", work(**given), epochs=4)
    assert [record["level"] for record in state.history] == [0.1, 0.2, 0.8]
    assert state.finished
    assert state.best_step == 12
    longer, _ = fit(tmp_path / "b", work(**rising([0.1, 0.2, 0.3, 0.0], [0] * 4, 1)), epochs=4)
    assert same(network, longer)


def test_without_reaching_it_the_best_weights_are_kept(tmp_path: Path) -> None:
    _, state = fit(tmp_path, work(**rising([0.2, 0.9, 0.1], [0.1, 0.2, 0.3], 0.8)))
    assert (len(state.history), state.best_step) == (3, 8)


def test_killed_after_it_was_reached_nothing_is_trained_any_more(tmp_path: Path) -> None:
    enough = {"figures": lambda: {}, "enough": lambda record: record["score"] > 0.6}
    whole, expected = fit(tmp_path / "whole", work(**enough), epochs=30)
    assert len(expected.history) < 30
    with pytest.raises(Killed):
        fit(tmp_path / "cut", work(loss=killed_at(2, loss), **enough), epochs=30, checkpoint_minutes=1e-9)
    again, state = fit(tmp_path / "cut", work(**enough), epochs=30)
    assert same(whole, again)
    assert state.history == expected.history
    more, state = fit(tmp_path / "cut", work(loss=killed_at(0, loss), **enough), epochs=30)
    assert same(whole, more)
    assert accuracy(more) > 0.6


# --- a real teacher ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("levels", "reached"), [({"f1": 0.01}, True), ({"accuracy": 1.0, "log_loss": 1e-9}, False)])
def test_a_teacher_learns_until_validation_says_so(
    levels: dict[str, float], reached: bool, bert: Path, tmp_path: Path
) -> None:
    rows = tiny_models.reviews()[::8]
    texts, targets = [row["text"] for row in rows], [float(row["label"] == "positive") for row in rows]
    torch.manual_seed(0)
    network = load.load(str(bert), CLASSES, Reading(32))[0]
    settings = TeacherRecipe.model_validate({"until": levels, "epochs": 3, "patience": None})
    state = supervised.fit_labels(
        network,
        split(texts[:40], targets[:40]),
        split(texts[40:], targets[40:], "validation"),
        settings,
        title="",
        seed=0,
        folder=tmp_path,
        progress=Silent(),
        goal=until.goal(settings.until, CLASSES),
    )
    assert len(state.history) == (1 if reached else 3)
    assert set(levels) <= set(state.history[-1])
    told = until.told(until.goal(levels, CLASSES), state.history, epochs=3)
    assert bool(told["warnings"]) is not reached


# --- what is told ------------------------------------------------------------------------------------------------


def test_what_was_reached_is_told_with_its_epoch() -> None:
    told = until.told(goal(accuracy=0.9), history(0.8, 0.912), epochs=10)
    assert told["warnings"] == []
    (choice,) = told["choices"]
    assert choice["taken"] == "stopped after epoch 2 of at most 10"
    assert choice["why"] == "accuracy 0.912 on validation: `until` asked for accuracy of at least 0.9"
    assert choice["figures"] == {"asked_accuracy": 0.9, "accuracy": 0.912}


@pytest.mark.parametrize(("epochs", "end"), [(3, "no more were allowed"), (9, "patience ended it before epoch 9")])
def test_what_was_not_is_told_with_the_best_there_was(epochs: int, end: str) -> None:
    told = until.told(goal(accuracy=0.9), history(0.8, 0.85, 0.82), epochs=epochs)
    (choice,), (warning,) = told["choices"], told["warnings"]
    assert choice["taken"] == "trained for 3 epochs without reaching the level asked for"
    assert "the best was accuracy 0.85 (epoch 2)" in choice["why"]
    assert choice["why"].endswith(end)
    assert choice["taken"] in warning
    assert choice["why"] in warning


def test_a_teacher_that_was_not_trained_says_that_nobody_looked() -> None:
    told = until.told(goal(log_loss=0.3), [], epochs=10)
    assert "used as it was" in told["warnings"][0]
    assert "log loss of at most 0.3" in told["choices"][0]["why"]
