"""Regularisers of labels: nothing asked for is the plain loss, and each does what its formula says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_models
from tutelage.artifacts.batch import Batch
from tutelage.artifacts.network import forward
from tutelage.encoding import Reading
from tutelage.errors import RecipeError
from tutelage.recipe_training import LabelRecipe
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import load
from tutelage.training import regular
from tutelage.training.regular import class_weights, focal, label_smoothing, mixup
from tutelage.training.regular.labels import Known

CLASSES, VALUES = TextClassification(("a", "b", "c")), TextRegression(0.0, 1.0)
_random = torch.Generator().manual_seed(0)
OUTPUTS = 3 * torch.randn(24, 3, generator=_random)
TARGETS = torch.randint(0, 3, (24,), generator=_random).float()
NUMBERS = torch.randn(24, 1, generator=_random)
UNEVEN = np.array([0.0] * 70 + [1.0] * 25 + [2.0] * 5)
PLAIN = CLASSES.label_loss(OUTPUTS, TARGETS)


def known(task: Task = CLASSES, targets: np.ndarray = UNEVEN) -> Known:
    return Known(task, targets)


def lesson(task: Task = CLASSES, **asked: Any) -> regular.Lesson:
    return regular.lesson(LabelRecipe.model_validate(asked), task, UNEVEN)


def test_a_recipe_that_asks_for_nothing_gets_the_tasks_own_loss() -> None:
    for task, outputs in ((CLASSES, OUTPUTS), (VALUES, NUMBERS)):
        found = lesson(task)
        assert torch.equal(found.rows(outputs, TARGETS), task.label_loss(outputs, TARGETS))
        assert not found.compares_rows


# --- smoothing ---------------------------------------------------------------------------------------------------


def test_no_smoothing_is_the_plain_loss() -> None:
    assert torch.equal(label_smoothing.applied(CLASSES.label_loss, 0.0, known())(OUTPUTS, TARGETS), PLAIN)


@settings(deadline=None)
@given(st.floats(0, 0.99))
def test_smoothing_is_that_of_the_library(strength: float) -> None:
    found = lesson(label_smoothing=strength).rows(OUTPUTS, TARGETS)
    expected = torch.nn.functional.cross_entropy(OUTPUTS, TARGETS.long(), reduction="none", label_smoothing=strength)
    torch.testing.assert_close(found, expected)


# --- focal -------------------------------------------------------------------------------------------------------


def test_focal_zero_is_the_plain_loss() -> None:
    torch.testing.assert_close(focal.applied(CLASSES.label_loss, 0.0, known())(OUTPUTS, TARGETS), PLAIN, rtol=0, atol=0)


@settings(deadline=None)
@given(st.floats(0.1, 5))
def test_focal_weighs_by_what_is_not_known_yet(strength: float) -> None:
    share = OUTPUTS.softmax(-1)[torch.arange(24), TARGETS.long()]
    expected = -((1 - share) ** strength) * share.log()
    torch.testing.assert_close(lesson(focal=strength).rows(OUTPUTS, TARGETS), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_an_answer_that_is_quite_sure_has_a_finite_slope(strength: float) -> None:
    outputs = torch.tensor([[80.0, 0.0, 0.0], [0.0, 80.0, 0.0]], requires_grad=True)
    lesson(focal=strength).rows(outputs, torch.zeros(2)).sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


# --- class weights -----------------------------------------------------------------------------------------------


def test_balanced_classes_weigh_the_same_and_a_row_one_on_average() -> None:
    weights = class_weights.balanced(known()).numpy()
    counts = np.bincount(UNEVEN.astype(int))
    np.testing.assert_allclose(weights * counts, len(UNEVEN) / 3)
    assert weights[UNEVEN.astype(int)].mean() == pytest.approx(1)


def test_classes_that_are_balanced_already_change_nothing() -> None:
    even = np.array([0.0, 1.0, 2.0] * 5)
    found = class_weights.applied(CLASSES.label_loss, "balanced", known(targets=even))(OUTPUTS, TARGETS)
    torch.testing.assert_close(found, PLAIN)


def test_a_class_without_a_row_divides_by_nothing() -> None:
    weights = class_weights.balanced(known(targets=np.array([0.0, 0.0, 1.0, 1.0])))
    assert weights.tolist() == [1.0, 1.0, 1.0]


# --- mixup -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "outputs"), [(CLASSES, OUTPUTS), (VALUES, NUMBERS)])
def test_a_share_of_one_is_the_plain_loss_and_of_zero_the_partners(task: Task, outputs: torch.Tensor) -> None:
    partner, plain = torch.arange(24).roll(5), task.label_loss(outputs, TARGETS)
    quantities = task.outputs == "quantities"

    def found(share: float) -> torch.Tensor:
        shares = torch.full((24,), share)
        return mixup.mixed(task.label_loss, outputs, TARGETS, partner, shares, quantities=quantities)

    torch.testing.assert_close(found(1.0), plain)
    torch.testing.assert_close(found(0.0), plain[partner])


def test_mixed_classes_share_the_loss_and_mixed_values_the_label() -> None:
    partner, share = torch.arange(24).roll(1), torch.full((24,), 0.3)
    blend = 0.3 * OUTPUTS + 0.7 * OUTPUTS[partner]
    soft = 0.3 * torch.nn.functional.one_hot(TARGETS.long(), 3) + 0.7 * torch.nn.functional.one_hot(
        TARGETS[partner].long(), 3
    )
    expected = -(soft * blend.log_softmax(-1)).sum(-1)
    found = mixup.mixed(CLASSES.label_loss, OUTPUTS, TARGETS, partner, share, quantities=False)
    torch.testing.assert_close(found, expected)
    values = (0.3 * NUMBERS + 0.7 * NUMBERS[partner]).squeeze(-1)
    expected = (values - 0.3 * TARGETS - 0.7 * TARGETS[partner]) ** 2
    found = mixup.mixed(VALUES.label_loss, NUMBERS, TARGETS, partner, share, quantities=True)
    torch.testing.assert_close(found, expected)


def test_mixed_answers_are_the_answers_of_mixed_sentence_embeddings(bert: Path) -> None:
    network = load.load(str(bert), CLASSES, Reading(32))[0]
    torch.nn.init.normal_(network.model.classifier.weight)
    tokens = network.tokenize([row["text"] for row in tiny_models.reviews()[:6]])
    batch: Batch = network.collate(tokens, np.arange(6))
    partner, share = torch.tensor([3, 4, 5, 0, 1, 2]), torch.linspace(0, 1, 6).unsqueeze(-1)
    with torch.inference_mode():
        plain, _ = forward(network.model, batch)
        hook = network.model.classifier.register_forward_pre_hook(
            lambda _, given: (share * given[0] + (1 - share) * given[0][partner],)
        )
        mixed, _ = forward(network.model, batch)
        hook.remove()
    torch.testing.assert_close(mixed, share * plain + (1 - share) * plain[partner], rtol=0, atol=1e-6)
    assert not torch.allclose(mixed, plain, atol=1e-4)


def test_mixup_compares_rows_and_draws_from_the_seed() -> None:
    found = lesson(mixup=0.4)
    assert found.compares_rows
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(found.rows(OUTPUTS, TARGETS))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


# --- what fits ---------------------------------------------------------------------------------------------------


def test_weights_go_around_focal_and_smoothing() -> None:
    weights = class_weights.balanced(known()).float()[TARGETS.long()]
    for single in ({"focal": 2.0}, {"label_smoothing": 0.1}):
        both = lesson(class_weights="balanced", **single).rows(OUTPUTS, TARGETS)
        torch.testing.assert_close(both, weights * lesson(**single).rows(OUTPUTS, TARGETS))


@pytest.mark.parametrize("task", [VALUES, TextRegression])
def test_values_have_no_classes_to_weigh(task: Any) -> None:
    asked = LabelRecipe.model_validate({"focal": 2.0, "class_weights": "balanced", "mixup": 0.2})
    with pytest.raises(RecipeError) as caught:
        regular.refuse_unfit(asked, task)
    first, second = caught.value.problems
    assert first.startswith("teacher.focal: it needs probabilities of classes, and the head of text-regression gives")
    assert second.startswith("teacher.class_weights:")
    assert "these fit: mixup, r_drop" in first
    regular.refuse_unfit(asked, CLASSES)
    regular.refuse_unfit(LabelRecipe(mixup=0.2, fgm=0.0), task)
