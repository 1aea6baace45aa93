"""What losses of attention and relations promise: minima, padding, heads, widths, and values from plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tutelage.artifacts.token_states import averaged
from tutelage.student.losses import ATTENTION_LOSSES, HIDDEN_LOSSES, attention, relations

ROWS, LONGEST, WIDTH, HEADS = 3, 5, 12, 4
MASK = torch.arange(LONGEST) < torch.tensor([5, 2, 1])[:, None]

Cost = Callable[[list[Tensor], list[Tensor], Tensor], Tensor]


def by_scores(student: list[Tensor], teacher: list[Tensor], mask: Tensor) -> Tensor:
    return attention.scores((student[0], student[1]), (teacher[0], teacher[1]), mask, HEADS)


def by_maps(student: list[Tensor], teacher: list[Tensor], mask: Tensor) -> Tensor:
    return attention.maps((student[0], student[1]), (teacher[0], teacher[1]), mask, HEADS)


def by_relations(student: list[Tensor], teacher: list[Tensor], mask: Tensor) -> Tensor:
    return relations.loss(student, teacher, mask, HEADS)


COSTS: list[Cost] = [by_scores, by_maps, by_relations]
EACH = pytest.mark.parametrize("cost", COSTS)


def vectors(seed: int, width: int = WIDTH, longest: int = LONGEST) -> list[Tensor]:
    """Queries, keys and values (rows, T, width)."""
    drawn = torch.randn(3, ROWS, longest, width, generator=torch.manual_seed(seed), dtype=torch.float64)
    return list(drawn)


@EACH
def test_one_finite_number_a_row_never_negative(cost: Cost) -> None:
    found = cost(vectors(0), vectors(1), MASK)
    assert found.shape == (ROWS,)
    assert found.isfinite().all()
    assert (found >= 0).all()
    assert (found[:2] > 1e-4).all()
    single = cost([side.float() for side in vectors(0)], [side.float() for side in vectors(1)], MASK)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), found, rtol=1e-4, atol=1e-6)


@EACH
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.01, 20))
def test_the_teachers_own_vectors_cost_nothing_and_stay(cost: Cost, seed: int, scale: float) -> None:
    teacher = [scale * side for side in vectors(seed)]
    student = [side.clone().requires_grad_() for side in teacher]
    found = cost(student, teacher, MASK)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-9)
    found.sum().backward()
    for side in student[: 2 if cost is not by_relations else 3]:
        assert side.grad is not None
        assert side.grad.abs().max() < 1e-7


@EACH
def test_gradients_agree_with_finite_differences(cost: Cost) -> None:
    teacher = vectors(1)
    student = [side.requires_grad_() for side in vectors(0)]
    assert torch.autograd.gradcheck(lambda *sides: cost(list(sides), teacher, MASK), tuple(student))


@EACH
def test_what_stands_at_padding_changes_nothing(cost: Cost) -> None:
    whole = cost(vectors(0), vectors(1), MASK)
    student, teacher = vectors(0), vectors(1)
    for side in [*student, *teacher]:
        side[~MASK] = 1e3
    torch.testing.assert_close(cost(student, teacher, MASK), whole)
    longer = [torch.nn.functional.pad(side, (0, 0, 0, 4), value=7.0) for side in [*vectors(0), *vectors(1)]]
    mask = torch.nn.functional.pad(MASK, (0, 4))
    torch.testing.assert_close(cost(longer[:3], longer[3:], mask), whole)


@EACH
def test_padding_has_no_gradient(cost: Cost) -> None:
    student = [side.requires_grad_() for side in vectors(0)]
    cost(student, vectors(1), MASK).sum().backward()
    for side in student[: 2 if cost is not by_relations else 3]:
        assert side.grad is not None
        assert side.grad[~MASK].abs().max() == 0
        assert side.grad[0].abs().max() > 0


@EACH
def test_rows_do_not_depend_on_their_company_and_come_in_any_order(cost: Cost) -> None:
    whole = cost(vectors(0), vectors(1), MASK)
    for row in range(ROWS):
        some = [side[row : row + 1, : int(MASK[row].sum())] for side in [*vectors(0), *vectors(1)]]
        alone = cost(some[:3], some[3:], torch.ones(1, some[0].shape[1], dtype=torch.bool))
        torch.testing.assert_close(alone, whole[row : row + 1])
    order = [2, 0, 1]
    mixed = [side[order] for side in [*vectors(0), *vectors(1)]]
    torch.testing.assert_close(cost(mixed[:3], mixed[3:], MASK[order]), whole[order])


@EACH
def test_tokens_may_come_in_any_order_the_same_on_both_sides(cost: Cost) -> None:
    order = [3, 0, 4, 2, 1]
    full = torch.ones(ROWS, LONGEST, dtype=torch.bool)
    mixed = [side[:, order] for side in [*vectors(0), *vectors(1)]]
    torch.testing.assert_close(cost(mixed[:3], mixed[3:], full), cost(vectors(0), vectors(1), full))


@EACH
def test_widths_may_differ(cost: Cost) -> None:
    found = cost(vectors(0, width=8), vectors(1, width=20), MASK)
    assert found.shape == (ROWS,)
    assert found.isfinite().all()


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 12])
def test_relations_are_cut_into_any_number_of_parts_of_any_width(heads: int) -> None:
    found = relations.loss(vectors(0, width=12), vectors(1, width=24), MASK, heads)
    assert (found[:2] > 0).all()
    # Turned within each part, vectors relate as before.
    width = 24 // heads
    turn, _ = torch.linalg.qr(torch.randn(width, width, generator=torch.manual_seed(5), dtype=torch.float64))
    turned = [(side.view(ROWS, LONGEST, heads, width) @ turn).flatten(2) for side in vectors(1, width=24)]
    same = relations.loss(turned, vectors(1, width=24), MASK, heads)
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-9)


def _softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def test_relations_are_the_papers_loop() -> None:
    student, teacher = vectors(0), vectors(1, width=8)
    expected = []
    for row in range(ROWS):
        length, total = int(MASK[row].sum()), 0.0
        for kind in range(3):
            for head in range(HEADS):
                parts = []
                for side in (student[kind], teacher[kind]):
                    size = side.shape[-1] // HEADS
                    x = side[row, :length, head * size : (head + 1) * size].numpy()
                    parts.append([_softmax((x @ x[i] / math.sqrt(size)).tolist()) for i in range(length)])
                said, told = parts
                total += sum(
                    told[i][j] * math.log(told[i][j] / said[i][j]) for i in range(length) for j in range(length)
                )
        expected.append(total / (3 * HEADS * length))
    assert relations.loss(student, teacher, MASK, HEADS).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ATTENTION_LOSSES)
def test_attention_is_the_papers_loop(name: str) -> None:
    student, teacher = vectors(0), vectors(1, width=8)
    expected = []
    for row in range(ROWS):
        length, total = int(MASK[row].sum()), 0.0
        for head in range(HEADS):
            maps = []
            for query, key, *_ in (student, teacher):
                size = query.shape[-1] // HEADS
                part = slice(head * size, (head + 1) * size)
                found = (query[row, :length, part] @ key[row, :length, part].T / math.sqrt(size)).numpy()
                maps.append(np.array([_softmax(line) for line in found.tolist()]) if name == "maps" else found)
            total += float(((maps[0] - maps[1]) ** 2).sum())
        expected.append(total / (HEADS * length**2))
    pairs = ((student[0], student[1]), (teacher[0], teacher[1]))
    assert ATTENTION_LOSSES[name](*pairs, MASK, HEADS).tolist() == pytest.approx(expected)


def test_a_map_does_not_see_what_is_added_to_all_scores_of_a_token_and_scores_do() -> None:
    """A key that all keys share adds the same to every score of a query."""
    query, key, _ = vectors(0)
    shifted = key + torch.linspace(-1, 1, WIDTH, dtype=torch.float64)
    same = attention.maps((query, shifted), (query, key), MASK, HEADS)
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-12)
    assert (attention.scores((query, shifted), (query, key), MASK, HEADS) > 1e-3).all()


# --- hidden states token by token ----------------------------------------------------------------------------------


def test_averages_are_over_the_tokens_of_each_row() -> None:
    mask = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    assert averaged(torch.tensor([1.0, 3.0, 5.0]), mask).tolist() == [2.0, 5.0, 0.0]


@pytest.mark.parametrize("name", [name for name, entry in HIDDEN_LOSSES.items() if not entry.compares_rows])
def test_a_loss_of_texts_takes_tokens_as_well(name: str) -> None:
    """Every token counts as a text would, and each text's tokens are averaged."""
    compute = HIDDEN_LOSSES[name].compute
    ours, theirs = (torch.stack(vectors(seed)[:2], dim=2) for seed in (0, 1))  # (rows, T, layers, width)
    found = averaged(compute(ours[MASK], theirs[MASK]), MASK)
    for row in range(ROWS):
        length = int(MASK[row].sum())
        alone = [compute(ours[row, i : i + 1], theirs[row, i : i + 1]) for i in range(length)]
        torch.testing.assert_close(found[row], torch.cat(alone).mean())
