"""Regularisers of weights: penalties, averages that are judged and kept, and checkpoints that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tiny_training import Killed, fit, gradients, killed_at, loss, model, plan, same, settings, work
from tutelage.progress import Silent
from tutelage.training import loop, regular
from tutelage.training.loop import train
from tutelage.training.regime import Regime, combined
from tutelage.training.regular import ema, l1, swa

STEPS = 12
"""Of a training of three epochs."""


def trail(folder: Path, **changes: Any) -> list[dict[str, torch.Tensor]]:
    """The weights after every step."""
    found: list[dict[str, torch.Tensor]] = []
    network = model()

    def note(step: int, total: int) -> None:
        found.append({name: value.detach().clone() for name, value in network.named_parameters()})

    given = work(regime=Regime(after_step=note))
    train(network, given, settings(**changes), seed=0, folder=folder, progress=Silent())
    return found


def rising() -> Any:
    """Every epoch is the best, so that the last one is kept."""
    scores = iter(range(100))
    return lambda _: float(next(scores))


def equal(network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    for name, value in network.named_parameters():
        torch.testing.assert_close(value.detach(), weights[name], rtol=0, atol=1e-6)


# --- L1 ----------------------------------------------------------------------------------------------------------


def test_the_penalty_is_the_size_of_all_matrices_that_learn() -> None:
    network = model()
    network[0].weight.requires_grad_(False)
    penalty = l1.regime(network, 0.1).penalty
    assert penalty is not None
    assert penalty().item() == pytest.approx(0.1 * float(network[4].weight.abs().sum()))
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    assert float(penalty()) == 0.0


def test_what_does_not_decay_is_under_no_penalty() -> None:
    network = model()
    penalty = l1.regime(network, 0.1, lambda name: name.startswith("4.")).penalty
    assert penalty is not None
    assert float(penalty().detach()) == pytest.approx(0.1 * float(network[4].weight.detach().abs().sum()))


def test_weights_under_a_penalty_are_smaller(tmp_path: Path) -> None:
    sizes = [
        sum(
            float(value.abs().sum())
            for value in fit(tmp_path / str(strength), work(validate=None), epochs=20, l1=strength)[0].parameters()
        )
        for strength in (0.0, 0.01, 0.1)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < 0.7 * sizes[0]


@pytest.mark.parametrize("parts", [2, 5, 16])
def test_a_penalty_counts_once_however_a_batch_is_cut(tmp_path: Path, parts: int) -> None:
    plain, held = (
        gradients(tmp_path / str(strength), parts=parts, training={"l1": strength}) for strength in (0.0, 0.3)
    )
    for value, without, under in zip(model().parameters(), plain, held, strict=True):
        expected = 0.3 * value.detach().sign() if value.ndim > 1 else torch.zeros_like(value)
        torch.testing.assert_close(under - without, expected, rtol=1e-5, atol=1e-6)


# --- averages ----------------------------------------------------------------------------------------------------


def test_an_average_with_decay_zero_is_the_last_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe's 0 means off, so the file itself is asked."""
    plain, _ = fit(tmp_path / "plain", work(validate=rising()))
    monkeypatch.setattr(regular, "regime", lambda network, *_: ema.regime(network, 0.0))
    averaged, _ = fit(tmp_path / "averaged", work(validate=rising()))
    assert same(plain, averaged)


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999])
def test_a_moving_average_is_that_of_its_formula(tmp_path: Path, decay: float) -> None:
    expected: dict[str, torch.Tensor] = {}
    for step, weights in enumerate(trail(tmp_path / "trail")):
        held = min(decay, step / (step + 9))
        expected = {name: held * expected.get(name, value) + (1 - held) * value for name, value in weights.items()}
    equal(fit(tmp_path / "ema", work(validate=rising()), ema=decay)[0], expected)


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.25, 3), (0.5, 6), (0.99, 12)])
def test_a_plain_average_is_the_mean_of_the_last_steps(tmp_path: Path, share: float, count: int) -> None:
    last = trail(tmp_path / "trail")[-count:]
    mean = {name: torch.stack([weights[name] for weights in last]).mean(0) for name in last[0]}
    equal(fit(tmp_path / "swa", work(validate=rising()), swa=share)[0], mean)


@pytest.mark.parametrize("average", [{"ema": 0.9}, {"swa": 0.5}])
def test_what_learns_never_sees_the_average(tmp_path: Path, average: dict[str, float]) -> None:
    for one, other in zip(trail(tmp_path / "plain"), trail(tmp_path / "averaged", **average), strict=True):
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_validation_judges_the_average_and_the_best_is_one(tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    scores = iter([0.1, 0.9, 0.5])

    def validate(network: nn.Module) -> float:
        seen.append({name: value.detach().clone() for name, value in network.named_parameters()})
        return next(scores)

    network, _ = fit(tmp_path / "ema", work(validate=validate), ema=0.9)
    weights = trail(tmp_path / "trail")
    for epoch in range(3):
        assert any(not torch.allclose(value, weights[4 * epoch + 3][name]) for name, value in seen[epoch].items())
    equal(network, seen[1])


def test_where_nothing_is_judged_the_average_is_what_is_left(tmp_path: Path) -> None:
    equal(
        fit(tmp_path / "a", work(validate=None), ema=0.9)[0],
        dict(fit(tmp_path / "b", work(validate=rising()), ema=0.9)[0].named_parameters()),
    )


def test_until_a_plain_average_begins_the_weights_themselves_are_judged(tmp_path: Path) -> None:
    scores = iter([0.9, 0.5, 0.1])
    network, _ = fit(tmp_path / "swa", work(validate=lambda _: next(scores)), swa=0.3)
    equal(network, trail(tmp_path / "trail")[3])


def test_weights_that_thaw_later_are_averaged_too(tmp_path: Path) -> None:
    def thaw(network: nn.Module) -> Regime:
        return Regime(begin_epoch=lambda epoch: network[0].requires_grad_(epoch > 0) and None)

    networks = [model(), model()]
    for network, decay in zip(networks, (0.0, 0.9), strict=True):
        given = work(validate=rising(), regime=thaw(network))
        train(network, given, settings(ema=decay), seed=0, folder=tmp_path / str(decay), progress=Silent())
    assert not torch.equal(networks[0][0].weight, networks[1][0].weight)
    assert not torch.equal(networks[1][0].weight, model()[0].weight)


# --- resuming ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [{"l1": 0.01}, {"ema": 0.9}, {"swa": 0.6}, {"ema": 0.9, "l1": 0.01}])
@pytest.mark.parametrize("step", [0, 1, 4, 5, 7, 8, 11])
def test_killed_at_any_step_it_resumes_to_the_same_average(tmp_path: Path, step: int, asked: dict[str, float]) -> None:
    whole, expected = fit(tmp_path / "whole", **asked)
    with pytest.raises(Killed):
        fit(tmp_path / "cut", work(loss=killed_at(step, loss)), checkpoint_minutes=1e-9, **asked)
    again, state = fit(tmp_path / "cut", checkpoint_minutes=1e-9, **asked)
    assert same(whole, again)
    assert state.history == expected.history


def test_a_finished_training_gives_its_average_again(tmp_path: Path) -> None:
    for validate in (None, rising()):
        folder = tmp_path / str(validate is None)
        one, _ = fit(folder, work(validate=validate), ema=0.9)
        assert same(one, fit(folder, work(validate=validate), ema=0.9)[0])


# --- together ----------------------------------------------------------------------------------------------------


def test_regimes_are_combined_in_order_and_each_finds_its_own() -> None:
    told: list[Any] = []

    def one(name: str, rate: float) -> Regime:
        return Regime(
            rate=lambda _: rate,
            decays=lambda parameter: parameter != name,
            begin_epoch=lambda epoch: told.append((name, epoch)),
            after_step=lambda step, total: told.append((name, step, total)),
            penalty=lambda: torch.tensor(rate),
            swap=lambda: told.append((name, "swap")),
            state=lambda: {name: torch.tensor(rate)},
            restore=lambda kept: told.append((name, sorted(kept))),
        )

    both = combined(one("a", 2.0), one("b", 3.0))
    assert both.rate("x") == 6.0
    assert [both.decays(name) for name in "abc"] == [False, False, True]
    both.begin_epoch(1)
    both.after_step(5, 9)
    both.swap()
    both.restore(both.state())
    assert told == [
        *(("a", 1), ("b", 1), ("a", 5, 9), ("b", 5, 9), ("a", "swap"), ("b", "swap")),
        *(("a", ["a", "b"]), ("b", ["a", "b"])),
    ]
    assert both.penalty is not None
    assert float(both.penalty()) == 5.0


def test_no_regime_at_all_changes_nothing() -> None:
    nothing = combined()
    assert (nothing.rate("x"), nothing.decays("x"), nothing.penalty, nothing.state()) == (1.0, True, None, {})
    assert loop.Work("", "", plan, loss).regime.penalty is None


def test_a_share_that_is_smaller_than_a_step_is_the_last_step() -> None:
    network = model()
    regime = swa.regime(network, 1e-6)
    regime.after_step(STEPS - 2, STEPS)
    assert not regime.state()
    regime.after_step(STEPS - 1, STEPS)
    assert len(regime.state()) == len(list(network.parameters()))
