"""Intervals that hold what they promise: coverage, pairing, and agreement with scipy's bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from tutelage.evaluate.intervals import Bootstrap, Interval, Resampled
from tutelage.tasks import Metric, TextClassification, TextRegression

ACCURACY = TextClassification(("neg", "pos")).metrics[:1]
Rows = NDArray[np.float64]


def bootstrap(rows: int = 300, *, resamples: int = 500, confidence: float = 0.95, seed: int = 0) -> Bootstrap:
    return Bootstrap(rows, resamples=resamples, confidence=confidence, seed=seed)


def answers(rows: int, accuracy: float, seed: int) -> tuple[Rows, Rows]:
    """Predictions (N, 2) that are right with the given probability, and targets (N,)."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 2, size=rows)
    said = np.where(random.random(rows) < accuracy, targets, 1 - targets)
    return np.eye(2)[said], targets.astype(np.float64)


def interval(predictions: Rows, targets: Rows, **settings: float) -> Interval:
    drawn = bootstrap(len(targets), **settings)  # type: ignore[arg-type]
    scores = drawn.scores(ACCURACY, predictions, targets)["accuracy"]
    return drawn.interval(scores)


@pytest.mark.parametrize(("confidence", "least", "most"), [(0.95, 0.90, 0.99), (0.8, 0.72, 0.88)])
def test_the_interval_holds_the_truth_as_often_as_it_says(confidence: float, least: float, most: float) -> None:
    truth, held = 0.8, 0
    for seed in range(200):
        found = interval(*answers(300, truth, seed), confidence=confidence, resamples=200, seed=seed)
        held += found.low <= truth <= found.high
    assert least <= held / 200 <= most


def test_an_error_of_calibration_lies_in_its_interval() -> None:
    """Of a model that is calibrated: resampling alone would find more and more error."""
    metric = next(one for one in TextClassification(("neg", "pos")).metrics if one.name == "calibration_error")
    predictions, targets = np.tile([0.2, 0.8], (200, 1)), np.array([1.0] * 160 + [0.0] * 40)
    drawn = bootstrap(200)
    found = drawn.scores((metric,), predictions, targets)[metric.name]
    assert found.value == pytest.approx(0.0, abs=1e-12)
    bounds = drawn.interval(found)
    assert 0.0 <= bounds.low <= found.value + 1e-12
    assert 0.0 < bounds.high < 0.08


def test_without_an_error_few_rows_are_less_sure_than_many() -> None:
    for rows in (20, 500):
        drawn = bootstrap(rows)
        scores = drawn.scores(ACCURACY, np.tile([0.0, 1.0], (rows, 1)), np.ones(rows))
        found = drawn.intervals(scores)["accuracy"]
        assert (found["value"], found["high"]) == (1.0, 1.0)
        # The exact lower end of so many successes in as many.
        assert found["low"] == pytest.approx(scipy.stats.binomtest(rows, rows).proportion_ci(0.95, "exact").low)


def test_the_paired_difference_holds_the_truth_as_often_as_it_says() -> None:
    """Two models that err on the same rows: their difference is far surer than either score."""
    truth, held, widths = 0.05, 0, []
    for seed in range(200):
        predictions, targets = answers(300, 0.8, seed)
        flip = np.random.default_rng(1000 + seed).random(300) < truth / 0.8  # only of those that were right
        worse = np.where((flip & (predictions.argmax(1) == targets))[:, None], 1 - predictions, predictions)
        drawn = bootstrap(resamples=200, seed=seed)
        one, other = (drawn.scores(ACCURACY, side, targets)["accuracy"] for side in (predictions, worse))
        found = drawn.difference(one, other)
        held += found.low <= truth <= found.high
        alone = drawn.interval(one)
        widths.append((found.high - found.low) / (alone.high - alone.low))
    assert 0.88 <= held / 200 <= 0.99
    assert np.mean(widths) < 0.7


def test_more_rows_and_less_confidence_make_it_narrower() -> None:
    def width(rows: int, confidence: float) -> float:
        found = interval(*answers(rows, 0.8, 1), confidence=confidence)
        return found.high - found.low

    assert width(1600, 0.95) == pytest.approx(width(100, 0.95) / 4, rel=0.3)  # with the root of the rows
    assert width(300, 0.8) < width(300, 0.95) < width(300, 0.99)


def test_a_model_against_itself_is_exactly_equal() -> None:
    predictions, targets = answers(300, 0.8, 0)
    drawn = bootstrap()
    one = drawn.scores(ACCURACY, predictions, targets)["accuracy"]
    assert drawn.difference(one, one) == Interval(0.0, 0.0, 0.0)
    assert drawn.ratio(one, one) == Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize("rows", [40, 400])
def test_another_model_that_errs_on_the_same_few_rows_is_not_sure_to_keep_everything(rows: int) -> None:
    predictions, targets = answers(rows, 0.8, 0)
    drawn = bootstrap(rows)
    one, other = (drawn.scores(ACCURACY, predictions, targets)["accuracy"] for _ in range(2))
    found = drawn.ratio(one, other)
    assert (found.value, found.high) == (1.0, 1.0)
    # N of N, of the share that there is to lose.
    assert found.low == pytest.approx(1 - (1 - 0.025 ** (1 / rows)) / other.value)


def test_every_model_is_resampled_on_the_same_rows() -> None:
    drawn = bootstrap(50)
    rows = np.arange(50.0)
    total = (Metric("total", "Total", lambda predictions, _: float(predictions.sum())),)
    one = drawn.scores(total, rows, rows)["total"]
    other = drawn.scores(total, 2 * rows + 1, rows)["total"]
    np.testing.assert_allclose(other.samples, 2 * one.samples + 50)
    assert len(set(one.samples)) > 100


def test_metrics_are_computed_on_whole_rows() -> None:
    """Predictions and targets are drawn together."""
    rows = np.arange(100.0)
    apart = (Metric("apart", "Apart", lambda one, other: float(np.abs(one - other).max())),)
    found = bootstrap(100).scores(apart, rows, rows)["apart"]
    assert found.value == 0.0
    assert not found.samples.any()


def test_the_seed_decides() -> None:
    predictions, targets = answers(300, 0.8, 0)
    assert interval(predictions, targets, seed=3) == interval(predictions, targets, seed=3)
    assert interval(predictions, targets, seed=3) != interval(predictions, targets, seed=4)
    once = bootstrap(seed=3)
    first = once.scores(ACCURACY, predictions, targets)["accuracy"].samples
    np.testing.assert_array_equal(once.scores(ACCURACY, predictions, targets)["accuracy"].samples, first)


@pytest.mark.parametrize("name", ["accuracy", "pearson", "mae"])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_agrees_with_scipys_percentile_bootstrap(name: str, seed: int) -> None:
    if name == "accuracy":
        predictions, targets = answers(200, 0.75, seed)
        (metric,) = ACCURACY
    else:
        random = np.random.default_rng(seed)
        targets = random.normal(size=200)
        predictions = targets + random.normal(size=200)
        (metric,) = (m for m in TextRegression(0.0, 1.0).metrics if m.name == name)
    drawn = bootstrap(200, resamples=3000, seed=seed)
    ours = drawn.intervals(drawn.scores((metric,), predictions, targets))[name]
    theirs = scipy.stats.bootstrap(
        (np.arange(200),),
        lambda rows: metric.compute(predictions[rows], targets[rows]),
        n_resamples=3000,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(seed + 100),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours["value"] == metric.compute(predictions, targets)
    assert ours["low"] == pytest.approx(theirs.low, abs=0.1 * width)
    assert ours["high"] == pytest.approx(theirs.high, abs=0.1 * width)


def test_the_value_is_that_of_all_rows_and_lies_within() -> None:
    predictions, targets = answers(300, 0.8, 0)
    found = interval(predictions, targets)
    assert found.value == (predictions.argmax(1) == targets).mean()
    assert found.low < found.value < found.high
    assert found.as_dict() == {"value": found.value, "low": found.low, "high": found.high}


def test_all_metrics_of_a_task_come_with_finite_intervals_even_with_a_rare_class() -> None:
    task = TextClassification(("a", "b", "rare"))
    random = np.random.default_rng(0)
    targets = np.array([0.0] * 99 + [2.0])
    predictions = task.predict(random.normal(size=(100, 3)))
    drawn = bootstrap(100, resamples=100)
    found = drawn.intervals(drawn.scores(task.metrics, predictions, targets))
    assert set(found) == {metric.name for metric in task.metrics}
    assert np.isfinite([list(figures.values()) for figures in found.values()]).all()


@pytest.mark.filterwarnings("error")
def test_a_ratio_to_nothing_leaves_undefined_resamples_out() -> None:
    drawn = bootstrap(4, resamples=100)
    one = Resampled(0.5, np.full(100, 0.5))
    sometimes = Resampled(0.25, np.array([0.0] * 50 + [0.25] * 50))
    assert drawn.ratio(one, sometimes) == Interval(2.0, 2.0, 2.0)
    never = Resampled(0.0, np.zeros(100))
    found = drawn.ratio(one, never)
    assert found.low == found.value == found.high
    assert np.isfinite(found.value)
    # To be as wrong as a teacher that ranks the wrong way round is not to keep anything.
    wrong = Resampled(-0.6, np.full(100, -0.6))
    assert drawn.ratio(Resampled(-0.7, np.full(100, -0.7)), wrong) == Interval(0.0, 0.0, 0.0)
    undefined = drawn.interval(Resampled(0.3, np.full(100, np.nan)))
    assert undefined == Interval(0.3, 0.3, 0.3)
