"""Regularisers that read a batch several times: on a real model, with what each promises of its passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from tutelage.artifacts.network import Network, forward
from tutelage.encoding import Reading
from tutelage.errors import ModelError
from tutelage.progress import Silent
from tutelage.recipe_training import TrainingRecipe
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import load
from tutelage.training import regular
from tutelage.training.loop import Work, set_dropout, train
from tutelage.training.regular import fgm, freelb, r_drop
from tutelage.training.regular.turn import Answer, Turn, length

CLASSES, VALUES = TextClassification(("no", "yes")), TextRegression(0.0, 1.0)
ROWS = tiny_models.reviews()[::20]
TEXTS = [row["text"] for row in ROWS]
TARGETS = torch.tensor([float(row["label"] == "positive") for row in ROWS])
# Uneven, so that there is padding.
TEXTS[0], TEXTS[3] = "good", " ".join([TEXTS[3]] * 2)


def network(folder: Path, task: Task = CLASSES, *, dropout: float = 0.0) -> Network:
    torch.manual_seed(0)
    found = load.load(str(folder), task, Reading(48))[0]
    set_dropout(found.model, dropout)
    found.model.train()
    return found


def turn(given: Network, rows: np.ndarray | None = None) -> Turn:
    rows = np.arange(len(TEXTS)) if rows is None else rows
    batch, targets = given.collate(given.tokenize(TEXTS), rows), TARGETS[rows]

    def judge(answer: Answer) -> torch.Tensor:
        return given.task.label_loss(answer[0], targets).sum()

    return Turn(given, batch, lambda: forward(given.model, batch), judge)


def gradient(given: Network, settings: TrainingRecipe, parts: int = 1) -> dict[str, torch.Tensor]:
    given.model.zero_grad()
    for rows in np.array_split(np.arange(len(TEXTS)), parts):
        torch.manual_seed(0)
        regular.loss(turn(given, rows), settings).backward()
    return {name: value.grad.clone() for name, value in given.model.named_parameters() if value.grad is not None}


def test_nothing_asked_for_is_one_pass(bert: Path) -> None:
    given = turn(network(bert))
    assert torch.equal(regular.loss(given, TrainingRecipe()), given.once())


# --- R-Drop ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [CLASSES, VALUES])
def test_equal_passes_add_nothing(bert: Path, task: Task) -> None:
    given = turn(network(bert, task))
    torch.testing.assert_close(r_drop.loss(given, 5.0), given.once())


@pytest.mark.parametrize("task", [CLASSES, VALUES])
def test_passes_that_differ_cost_by_how_much(bert: Path, task: Task) -> None:
    given = turn(network(bert, task, dropout=0.3))
    losses = []
    for strength in (0.0, 1.0, 2.0):
        torch.manual_seed(7)
        losses.append(r_drop.loss(given, strength).item())
    assert losses[1] > losses[0]
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)


def test_the_difference_is_the_mean_of_both_divergences() -> None:
    one, other = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
    p, q = one.log_softmax(-1), other.log_softmax(-1)
    kl = torch.nn.functional.kl_div
    both = [kl(a, b, reduction="none", log_target=True).sum(-1) for a, b in ((p, q), (q, p))]
    torch.testing.assert_close(r_drop.difference(one, other, quantities=False), (both[0] + both[1]) / 2)
    torch.testing.assert_close(r_drop.difference(one, one, quantities=False), torch.zeros(8))


# --- moved tokens ------------------------------------------------------------------------------------------------


def climb(given: Turn, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The move of the fast gradient method, and the loss before it."""
    with given.shifted() as seen:
        plain = given.once()
    return strength * given.uphill(plain, seen), plain


def test_the_move_has_the_length_asked_for_and_leaves_padding_alone(bert: Path) -> None:
    given = turn(network(bert))
    move, _ = climb(given, 0.7)
    assert move.shape == (*given.batch.input_ids.shape, 32)
    torch.testing.assert_close(length(move).flatten(), torch.full((len(TEXTS),), 0.7))
    assert (given.mask == 0).any()
    assert not (move * (1 - given.mask)).any()


def test_a_small_move_goes_uphill_by_its_slope(bert: Path) -> None:
    given = turn(network(bert))
    move, plain = climb(given, 1e-2)
    with given.shifted(move):
        higher = given.once()
    with given.shifted(-move):
        lower = given.once()
    assert lower < plain < higher


@pytest.mark.parametrize("name", ["fgm", "freelb"])
def test_no_weight_is_touched_and_nothing_is_left_on_the_model(bert: Path, name: str) -> None:
    given = network(bert)
    before = {key: value.clone() for key, value in given.model.state_dict().items()}
    regular.loss(turn(given), TrainingRecipe.model_validate({name: 0.5})).backward()
    assert all(torch.equal(value, before[key]) for key, value in given.model.state_dict().items())
    assert not given.model.get_input_embeddings()._forward_hooks


def test_fgm_is_the_mean_of_the_loss_here_and_uphill(bert: Path) -> None:
    given = turn(network(bert))
    move, plain = climb(given, 0.5)
    with given.shifted(move):
        higher = given.once()
    torch.testing.assert_close(fgm.loss(given, 0.5), (plain + higher) / 2)
    assert higher > plain


def test_where_the_loss_is_flat_nothing_moves(bert: Path) -> None:
    given = network(bert)
    torch.nn.init.zeros_(given.model.classifier.weight)
    move, plain = climb(turn(given), 0.5)
    assert not move.any()
    torch.testing.assert_close(fgm.loss(turn(given), 0.5), plain)


def test_freelb_begins_inside_and_never_leaves(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = turn(network(bert))
    begin = freelb.begin(given, 0.6)
    assert (length(begin) <= 0.6).all()
    assert (length(begin) > 0.2).all()
    assert not (begin * (1 - given.mask)).any()
    used: list[torch.Tensor] = []
    shifted = Turn.shifted
    monkeypatch.setattr(Turn, "shifted", lambda self, shift=None: used.append(shift) or shifted(self, shift))
    freelb.loss(given, 0.6)
    assert len(used) == freelb.STEPS == 3
    assert all((length(shift) <= 0.6 * 1.0001).all() for shift in used)
    assert not torch.equal(used[0], used[1])


def test_freelb_of_almost_nothing_is_the_plain_loss_and_of_more_is_harder(bert: Path) -> None:
    given = turn(network(bert))
    plain = given.once()
    torch.testing.assert_close(freelb.loss(given, 1e-6), plain)
    assert freelb.loss(given, 1.0) > plain


def test_a_move_longer_than_allowed_is_shortened_and_no_other() -> None:
    moves = torch.tensor([[[3.0, 4.0]], [[0.3, 0.4]], [[0.0, 0.0]]])
    torch.testing.assert_close(freelb.shortened(moves, 1.0), torch.tensor([[[0.6, 0.8]], [[0.3, 0.4]], [[0.0, 0.0]]]))


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "gpt2", "t5"])
@pytest.mark.parametrize("name", ["fgm", "freelb"])
def test_every_kind_of_model_can_be_moved_also_where_embeddings_are_frozen(
    kind: str, name: str, tmp_path: Path
) -> None:
    given = network(getattr(tiny_models, f"write_{kind}")(tmp_path / kind))
    settings = TrainingRecipe.model_validate({name: 0.5})
    learned = gradient(given, settings)
    given.model.get_input_embeddings().requires_grad_(False)
    frozen = gradient(given, settings)
    assert set(frozen) < set(learned)
    for key, value in frozen.items():
        torch.testing.assert_close(value, learned[key], rtol=1e-3, atol=1e-5)


def test_a_model_that_does_not_ask_its_embeddings_is_refused(bert: Path) -> None:
    given = network(bert)
    fixed = Turn(given, turn(given).batch, lambda: (torch.zeros(1, 2), torch.zeros(1, 0, 0)), lambda _: torch.zeros(()))
    with pytest.raises(ModelError, match="leave out `fgm`"), fixed.shifted():
        fixed.once()


# --- parts of a batch --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 5, 24])
@pytest.mark.parametrize("name", ["none", "fgm"])
def test_the_gradient_is_the_same_however_a_batch_is_cut(bert: Path, name: str, parts: int) -> None:
    changes: dict[str, Any] = {} if name == "none" else {name: 0.5}
    given = network(bert)
    whole = gradient(given, TrainingRecipe.model_validate(changes))
    cut = gradient(given, TrainingRecipe.model_validate(changes), parts)
    for key, value in whole.items():
        torch.testing.assert_close(value, cut[key], rtol=1e-3, atol=2e-5, msg=key)


def test_two_passes_without_dropout_between_them_are_refused(tmp_path: Path) -> None:
    """Of GPT-2, `strategy: head` trains what comes behind all dropout."""
    given = load.load(str(tiny_models.write_gpt2(tmp_path / "model")), CLASSES, Reading(48))[0]
    given.model.requires_grad_(False)
    given.model.score.requires_grad_(True)
    settings = TrainingRecipe(r_drop=1.0, dropout=0.1, epochs=1)
    work = Work("Fine-tuning", "x", lambda _: [np.arange(4)], lambda *_: torch.zeros(()))
    with pytest.raises(ModelError, match="no dropout is left in what learns"):
        train(given.model, work, settings, seed=0, folder=tmp_path / "t", progress=Silent())


def test_what_a_step_costs_is_what_check_reckons_with() -> None:
    assert regular.cost(TrainingRecipe()) == 1.0
    assert regular.cost(TrainingRecipe(r_drop=1.0, dropout=0.1)) == 2.0
    assert regular.cost(TrainingRecipe(freelb=0.1)) > regular.cost(TrainingRecipe(fgm=0.1)) > 2
