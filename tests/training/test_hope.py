"""A training is given up when a straight line through its last epochs ends far below what is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_training
from tutelage.training.hope import Hope


@pytest.mark.parametrize(
    ("scores", "lost"),
    [
        ([0.1], False),  # one epoch says nothing
        ([0.60, 0.62], True),  # 0.66 after four
        ([0.60, 0.70], False),  # 0.90 after four
        ([0.75, 0.70], True),  # no line falls: 0.75 is what there is
        ([0.80, 0.785], False),  # as on Amazon, where the next two epochs brought 0.838: within 0.12 of 0.87
        ([0.60, 0.70, 0.71], True),  # 0.72 after four
        ([0.60, 0.60, 0.60, 0.60], False),  # it is over anyway
    ],
)
def test_what_is_far_below_the_line_is_lost(scores: list[float], lost: bool) -> None:
    assert Hope(0.87, 4).lost([{"score": score} for score in scores]) == lost


def test_a_score_that_was_not_finite_says_nothing() -> None:
    assert not Hope(0.87, 4).lost([{"score": 0.1}, {}])


def test_the_best_weights_stay_when_a_training_is_given_up(tmp_path: Path) -> None:
    work = tiny_training.work(hopeless=Hope(9.0, 5).lost)
    network, state = tiny_training.fit(tmp_path, work, epochs=5)
    assert state.finished
    assert len(state.history) == 2
    assert tiny_training.accuracy(network) == max(record["score"] for record in state.history)
