"""Means over seeds: their intervals hold what they promise, with few seeds too."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.evaluate import seeds
from tutelage.evaluate.intervals import Bootstrap, Interval, Resampled
from tutelage.evaluate.seeds import Trained
from tutelage.tasks import TextClassification

ROWS, RESAMPLES = 200, 150


def trainings(count: int, spread: float, trial: int) -> list[Resampled]:
    """Figures whose truth is 0: each the mean of rows that all trainings share, of its own noise, and of its seed."""
    random = np.random.default_rng(trial)
    shared, own = random.normal(size=ROWS), random.normal(size=(count, ROWS))
    rows = shared + own + spread * random.normal(size=(count, 1))
    weights = random.multinomial(ROWS, np.full(ROWS, 1 / ROWS), size=RESAMPLES) / ROWS
    return [Resampled(float(row.mean()), weights @ row) for row in rows]


def bootstrap(confidence: float = 0.95) -> Bootstrap:
    return Bootstrap(ROWS, resamples=RESAMPLES, confidence=confidence, seed=0)


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("spread", [0.0, 0.1, 0.5])
def test_the_mean_holds_the_truth_as_often_as_it_says(count: int, spread: float) -> None:
    found = [bootstrap().mean(trainings(count, spread, trial)) for trial in range(200)]
    held = sum(one.low <= 0 <= one.high for one in found)
    assert held / 200 >= 0.89


def test_an_interval_over_rows_alone_would_not() -> None:
    """Otherwise the test above would pass on any interval."""
    held = 0
    for trial in range(200):
        first = trainings(3, 0.5, trial)[0]
        alone = bootstrap().interval(first)
        held += alone.low <= 0 <= alone.high
    assert held / 200 < 0.6


def test_seeds_that_agree_leave_the_interval_of_the_rows() -> None:
    one = trainings(1, 0.0, 3)[0]
    mean, alone = bootstrap().mean([one] * 4), bootstrap().interval(one)
    assert mean.value == pytest.approx(alone.value)
    assert mean.high - mean.low == pytest.approx(alone.high - alone.low, rel=0.2)
    exact = Resampled(0.5, np.full(RESAMPLES, 0.5))
    assert bootstrap().mean([exact, exact]) == Interval(0.5, 0.5, 0.5)


def test_more_confidence_is_wider_and_undefined_resamples_are_left_out() -> None:
    given = trainings(3, 0.2, 1)
    low, high = bootstrap(0.8).mean(given), bootstrap(0.99).mean(given)
    assert high.high - high.low > 2 * (low.high - low.low)
    given[0].samples[0] = np.nan
    found = bootstrap().mean(given)
    assert np.isfinite([found.low, found.high]).all()


def test_every_seed_is_told_and_the_gain_is_paired() -> None:
    task, random = TextClassification(("neg", "pos")), np.random.default_rng(0)
    targets = random.integers(0, 2, ROWS).astype(float)

    def said(right: float) -> np.ndarray:
        labels = np.where(random.random(ROWS) < right, targets, 1 - targets).astype(int)
        return np.eye(2)[labels]

    teacher = said(0.9)
    trained = [Trained(seed, "", f"student {seed}", said(0.85), said(0.75)) for seed in (4, 5, 6)]
    found = seeds.score(task, trained, teacher, targets, bootstrap())
    assert [run.seed for run in found.runs] == [4, 5, 6]
    assert found.against_control is not None
    gains = [run.against_control.value for run in found.runs if run.against_control]
    assert found.against_control.value == pytest.approx(np.mean(np.array(gains, dtype=float)))
    assert found.against_control.value == pytest.approx(0.1, abs=0.06)
    same = [Trained(1, "", "", teacher, teacher), Trained(2, "", "", teacher, teacher)]
    found = seeds.score(task, same, teacher, targets, bootstrap())
    assert found.against_control is not None
    assert (found.against_control.low, found.against_control.high) == (0.0, 0.0)
    assert found.retention is not None
    assert found.retention.value == 1.0
    alone = seeds.score(task, [Trained(1, "", "", teacher, None)] * 2, teacher, targets, bootstrap())
    assert alone.against_control is None
    assert alone.runs[0].control is None
