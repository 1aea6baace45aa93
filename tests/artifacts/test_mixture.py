"""How often rows of several data sets are drawn: exactly as often as was said, and the same whenever asked."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.artifacts.mixture import Mixture


def counts(mixture: Mixture, epochs: int) -> list[np.ndarray]:
    """How often each row of each set is drawn in some epochs together."""
    rows = np.concatenate([mixture.epoch(number) for number in range(epochs)])
    drawn = np.bincount(rows, minlength=sum(mixture.rows))
    return np.split(drawn, np.cumsum(mixture.rows)[:-1])


def made(rows: list[int], weights: list[float], temperature: float = 1.0) -> Mixture:
    found = Mixture.of(rows, weights, temperature=temperature, seed=0)
    assert found is not None
    return found


def test_sets_of_weight_one_at_temperature_one_are_one_data_set() -> None:
    assert Mixture.of([50, 80], [1, 1], temperature=1, seed=0) is None
    assert Mixture.of([50], [1], temperature=5, seed=0) is None


def test_our_own_rows_are_drawn_once_in_every_epoch() -> None:
    mixture = made([50, 80, 20], [1, 0.3, 4], temperature=3)
    for epoch in range(4):
        drawn = np.bincount(mixture.epoch(epoch), minlength=150)
        assert (drawn[:50] == 1).all()


@pytest.mark.parametrize(("weight", "epochs", "times"), [(0.5, 2, 1), (0.25, 4, 1), (1.5, 2, 3), (3, 1, 3), (2, 5, 10)])
def test_a_weight_is_how_often_each_row_is_drawn(weight: float, epochs: int, times: int) -> None:
    own, other = counts(made([30, 80], [1, weight]), epochs)
    assert (own == epochs).all()
    assert (other == times).all()


def test_no_row_comes_again_before_every_other_came() -> None:
    mixture = made([10, 37], [1, 0.7])
    for epochs in range(1, 9):
        other = counts(mixture, epochs)[1]
        assert other.max() - other.min() <= 1


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0, 1e9])
def test_sets_are_drawn_in_proportion_to_weight_and_tempered_size(temperature: float) -> None:
    rows, weights = np.array([1000, 16_000, 250]), np.array([1, 0.5, 2])
    mixture = made(rows.tolist(), weights.tolist(), temperature)
    share = weights * rows ** (1 / temperature)
    assert np.array(mixture.drawn) / sum(mixture.drawn) == pytest.approx(share / share.sum(), rel=1e-3)
    assert len(mixture.epoch(3)) == sum(mixture.drawn)


def test_an_epoch_is_a_function_of_its_number_and_the_seed() -> None:
    mixture = made([10, 40], [1, 0.5])
    other = Mixture.of([10, 40], [1, 0.5], temperature=1, seed=1)
    assert other is not None
    np.testing.assert_array_equal(mixture.epoch(3), Mixture.from_dict(mixture.as_dict()).epoch(3))  # type: ignore[union-attr]
    assert set(mixture.epoch(0)) != set(mixture.epoch(1))
    assert set(mixture.epoch(0)) != set(other.epoch(0))


def test_a_set_is_never_drawn_less_than_once() -> None:
    assert made([10, 40], [1, 0.001]).drawn == (10, 1)


def test_unlabelled_texts_join_with_all_their_rows() -> None:
    mixture = made([10, 40], [1, 0.5])
    joined = mixture.and_all_of(7)
    assert (counts(joined, 3)[2] == 3).all()
    np.testing.assert_array_equal(joined.epoch(2)[:30], mixture.epoch(2))
    assert mixture.and_all_of(0) == mixture


def test_the_first_sets_are_drawn_as_before() -> None:
    both = Mixture((10, 4), (10, 8), 0)
    assert both.and_all_of(5).first(14) == both
    assert both.and_all_of(5).first(19) == both.and_all_of(5)
