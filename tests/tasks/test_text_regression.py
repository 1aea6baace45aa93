"""Numbers as labels: read strictly, figures equal to scipy's and scikit-learn's, indifferent to the user's unit."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from tutelage import tasks
from tutelage.errors import DataError
from tutelage.tasks import TextRegression
from tutelage.tasks.text_regression import pearson, spearman

BOUND = TextRegression(2.0, 4.0)


def random_case(rows: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = random.normal(3, 2, size=rows).round(1)  # rounded, so that there are ties
    return targets + random.normal(size=rows).round(1), targets


def figures(predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    return {metric.name: metric.compute(predictions, targets) for metric in BOUND.metrics}


# --- labels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        (-0.5, -0.5),
        ("3", 3.0),
        (" -2.5e1 \n", -25.0),
        (np.int64(3), 3.0),
        (np.float32(0.1), 0.1),
        (np.float64(0.1), 0.1),
        (Decimal("1.25"), 1.25),
        (np.str_("7"), 7.0),
    ],
)
def test_a_number_of_any_type_is_read(value: Any, number: float) -> None:
    assert BOUND.encode(value) == TextRegression.parse(value) == number
    assert type(BOUND.encode(value)) is float


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "good", "3 stars", "1,5", True, False, np.True_, float("nan"), "inf", float("-inf"), "1e999", [1]],
)
def test_what_is_no_number_says_so(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a"):
        BOUND.encode(value)
    with pytest.raises(ValueError, match="is not a"):
        TextRegression.parse(value)


def test_the_centre_and_spread_are_those_of_the_training_labels() -> None:
    predictions, _ = random_case()
    bound = TextRegression.fit(predictions.tolist())
    assert bound.mean == pytest.approx(predictions.mean())
    assert bound.std == pytest.approx(predictions.std())
    assert bound.scale() == (bound.mean, bound.std)
    assert TextRegression.fit(["1", 2, " 3.0"]) == TextRegression.fit([1, 2, 3])


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([], "no labels at all"),
        ([0.1] * 10, r"all training labels are 0\.1"),  # whose deviation comes out as 1e-17
        (["7"], "all training labels are 7"),
        ([1e308, -1e308], "reach from"),
        ([1e-200, 2e-200], "reach from"),
        ([1, 2, "good"], "holds 'good'"),
        ([1, True], "holds True"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_labels_that_make_no_task_are_a_data_error_with_the_cure(values: list[Any], match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        TextRegression.fit(values)
    assert "data.label" in caught.value.cure


def test_names_as_labels_point_to_the_other_task() -> None:
    with pytest.raises(DataError) as caught:
        TextRegression.fit(["good", "bad"])
    assert "text-classification" in caught.value.cure


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20).filter(lambda x: max(x) - min(x) > 1e-3))
def test_a_task_survives_json(values: list[float]) -> None:
    bound = TextRegression.fit(values)
    assert tasks.from_dict(json.loads(json.dumps(bound.to_dict()))) == bound


@pytest.mark.parametrize(
    "change",
    [
        *({"mean": value} for value in (None, "2", [2], float("nan"), float("inf"))),
        *({"std": value} for value in (None, "4", [4], float("nan"), float("inf"), 0, -1.0)),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="finite numbers, std above 0"):
        tasks.from_dict(BOUND.to_dict() | change)
    without = {key: value for key, value in BOUND.to_dict().items() if key not in change}
    with pytest.raises(ValueError, match="finite numbers, std above 0"):
        tasks.from_dict(without)


def test_strata_are_tenths_in_order() -> None:
    targets = np.random.default_rng(0).normal(size=1000)
    strata = BOUND.strata(targets)
    assert np.bincount(strata).tolist() == [100] * 10
    assert all(targets[strata == i].max() <= targets[strata == i + 1].min() for i in range(9))
    few = np.array([1.0, 1.0, 1.0, 5.0])
    assert len(set(BOUND.strata(few)[:3])) == 1  # equal targets, equal stratum


@pytest.mark.parametrize(
    ("mean", "std", "values", "expected"),
    [
        (2000.0, 12.0, (2015.0, 2021.3), ("2015.0", "2021.3")),
        (250_000.0, 50_000.0, (245_310.4, 180_000.0), ("245310", "180000")),
        (0.005, 0.002, (0.00417, 0.01), ("0.00417", "0.01000")),
        (90_000.0, 1e6, (0.42, 0.07, 1_250_000.0), ("0.42", "0.07", "1250000")),
    ],
)
def test_values_are_written_so_that_they_can_be_told_apart(
    mean: float, std: float, values: tuple[float, ...], expected: tuple[str, ...]
) -> None:
    task = TextRegression(mean, std)
    assert tuple(task.show_target(value) for value in values) == expected
    assert tuple(task.show({"value": value}) for value in values) == expected
    panel = task.distribution(np.array([mean - std, *values, mean + std]))
    assert len(set(panel.data["labels"])) == len(panel.data["labels"])


def test_the_distribution_counts_every_row() -> None:
    targets = random_case()[1]
    panel = BOUND.distribution(targets)
    assert panel.kind == "histogram"
    assert sum(panel.data["counts"]) == len(targets)
    assert len(panel.data["labels"]) == len(panel.data["counts"])
    assert BOUND.warnings(targets) == []


# --- model -------------------------------------------------------------------------------------------------------


def test_a_model_fits_when_its_one_output_was_trained_as_a_quantity() -> None:
    from transformers import BertConfig

    made = BertConfig(**BOUND.model_config()).to_dict()
    assert len(made["id2label"]) == BOUND.width == 1
    assert BOUND.fits(made)
    assert BOUND.fits(json.loads(json.dumps(made)))
    assert not BOUND.fits(BertConfig().to_dict())
    assert not BOUND.fits(BertConfig(num_labels=1).to_dict())
    assert not BOUND.fits(BertConfig(num_labels=2, problem_type="regression").to_dict())
    assert not BOUND.fits(BertConfig(num_labels=1, problem_type="multi_label_classification").to_dict())
    assert not BOUND.fits({})


# --- training ----------------------------------------------------------------------------------------------------


def test_the_label_loss_is_the_squared_distance_a_row() -> None:
    outputs, targets = torch.tensor([[1.0], [3.0], [-2.0]]), torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)
    assert BOUND.label_loss(outputs, targets).tolist() == [0.0, 4.0, 9.0]
    assert BOUND.label_loss(outputs, targets).dtype == outputs.dtype


def test_a_quantity_has_no_temperature() -> None:
    predictions, targets = random_case()
    assert BOUND.temperature(predictions[:, None], targets) == 1.0


# --- predictions -------------------------------------------------------------------------------------------------


def test_outputs_are_values_and_records_hold_them() -> None:
    predictions = BOUND.predict(np.array([[1.5], [-2.0]], dtype=np.float32))
    assert predictions.dtype == np.float64
    assert predictions.tolist() == [1.5, -2.0]
    records = BOUND.decode(predictions)
    assert json.loads(json.dumps(records)) == records == [{"value": 1.5}, {"value": -2.0}]
    assert BOUND.show(records[0]) == BOUND.show_target(1.5) == "1.50"
    assert BOUND.decode(BOUND.predict(np.empty((0, 1), dtype=np.float32))) == []


def test_rows_do_not_depend_on_their_company() -> None:
    outputs = np.random.default_rng(0).normal(size=(30, 1)).astype(np.float32)
    order = np.random.default_rng(1).permutation(30)
    np.testing.assert_array_equal(BOUND.predict(outputs[order]), BOUND.predict(outputs)[order])
    np.testing.assert_array_equal(BOUND.predict(outputs[4:5]), BOUND.predict(outputs)[4:5])


def test_windows_of_a_text_are_averaged() -> None:
    pooled = BOUND.pool(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 1]), 2)
    assert pooled.tolist() == [[2.0], [5.0]]


# --- evaluation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_scipys_and_scikit_learns(seed: int) -> None:
    predictions, targets = random_case(seed=seed)
    found = figures(predictions, targets)
    assert found["pearson"] == pytest.approx(scipy.stats.pearsonr(predictions, targets).statistic)
    assert found["spearman"] == pytest.approx(scipy.stats.spearmanr(predictions, targets).statistic)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(targets, predictions))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(targets, predictions))


@pytest.mark.parametrize("constant", [0.1, -7.3, 0.0, 1e9 + 0.1])
def test_a_model_that_always_says_the_same_is_not_correlated(constant: float) -> None:
    _, targets = random_case(100)
    same = np.full(100, constant)
    for metric in (pearson, spearman):
        assert metric(same, targets) == 0.0
        assert metric(targets, same) == 0.0
        assert metric(same, same) == 0.0


@pytest.mark.parametrize("unit", [1e-90, 1e-6, 1.0, 1e6, 1e90])
def test_correlations_do_not_depend_on_the_unit(unit: float) -> None:
    predictions, targets = random_case()
    for metric in (pearson, spearman):
        expected = metric(predictions, targets)
        assert metric(predictions * unit, targets) == pytest.approx(expected)
        assert metric(predictions * unit, targets * unit) == pytest.approx(expected)
        assert metric(-predictions * unit, targets) == pytest.approx(-expected)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_a_correlation_is_between_minus_one_and_one(values: list[float]) -> None:
    targets = np.array(values)
    for predictions in (targets, 3 * targets + 1, targets[::-1].copy()):
        assert -1 <= pearson(predictions, targets) <= 1
        assert -1 <= spearman(predictions, targets) <= 1


def test_a_perfect_model_has_perfect_figures() -> None:
    _, targets = random_case()
    assert figures(targets, targets) == {"pearson": pytest.approx(1.0), "spearman": 1.0, "mae": 0.0, "rmse": 0.0}
    assert figures(targets + 2, targets)["mae"] == pytest.approx(2.0)
    assert BOUND.headline.name == "pearson"
    better, worse = random_case(seed=1)[0], -random_case(seed=1)[0]
    truth = random_case(seed=1)[1]
    for metric in BOUND.metrics:
        ahead = metric.compute(better, truth) - metric.compute(worse, truth)
        assert ahead > 0 if metric.higher_is_better else ahead < 0, metric.name


def test_figures_do_not_depend_on_the_order_of_rows() -> None:
    predictions, targets = random_case()
    order = np.random.default_rng(0).permutation(len(targets))
    assert figures(predictions[order], targets[order]) == pytest.approx(figures(predictions, targets))


@pytest.mark.parametrize("unit", [1e-7, 1.0, 1e7])
@pytest.mark.parametrize("rows", [1, 300, 5000])
def test_the_scatter_plot_shows_true_pairs_in_any_unit_and_stays_small(rows: int, unit: float) -> None:
    predictions, targets = (side * unit for side in random_case(rows))
    (panel,) = BOUND.panels(predictions, targets)
    assert panel.kind == "scatter"
    assert len(panel.data["x"]) == len(panel.data["y"]) == min(rows, 1500)
    pairs = np.array([targets, predictions]).T / unit
    drawn = np.array([panel.data["x"], panel.data["y"]]).T / unit
    distance = np.abs(drawn[:, None] - pairs[None]).sum(2).min(1) if rows <= 300 else np.zeros(1)
    assert distance.max() < 1e-4
    assert len(set(panel.data["x"])) > 50 or rows == 1


def test_models_differ_where_a_user_would_see_it() -> None:
    one, other = np.array([0.0, 0.0, 0.0, 5.0]), np.array([0.0, 1.9, 4.0, 1.0])
    np.testing.assert_allclose(BOUND.disagreement(one, other), [0, 0, 1.0, 1.0])  # in deviations of 4
    np.testing.assert_array_equal(BOUND.disagreement(one, other), BOUND.disagreement(other, one))
    assert not BOUND.disagreement(one, one).any()


def test_the_baseline_gives_values_in_the_users_unit() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(100, 3))
    targets = 1000 + 50 * features[:, 0]
    outputs = BOUND.baseline_outputs(BOUND.baseline(0).fit(features, targets), features)
    assert outputs.shape == (100, 1)
    assert figures(BOUND.predict(outputs), targets)["mae"] < 2
