"""What losses of hidden states promise: minima, invariances, company, and values computed by hand or by plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tutelage.student.losses import (
    HIDDEN_LOSSES,
    hidden_contrastive,
    hidden_cosine,
    hidden_mse,
    hidden_patient,
    hidden_relational,
    hidden_similarity,
)

ROWS, LAYERS, WIDTH = 6, 2, 5
ALONE = [name for name, entry in HIDDEN_LOSSES.items() if not entry.compares_rows]
TOGETHER = [name for name, entry in HIDDEN_LOSSES.items() if entry.compares_rows]
ANY_WIDTH = [name for name, entry in HIDDEN_LOSSES.items() if not entry.needs_same_width]


def states(seed: int, rows: int = ROWS, width: int = WIDTH, layers: int = LAYERS) -> Tensor:
    return torch.randn(rows, layers, width, generator=torch.manual_seed(seed), dtype=torch.float64)


def cost(name: str, student: Tensor, teacher: Tensor) -> Tensor:
    return HIDDEN_LOSSES[name].compute(student, teacher)


def gradient(name: str, student: Tensor, teacher: Tensor) -> Tensor:
    student = student.clone().requires_grad_()
    (found,) = torch.autograd.grad(cost(name, student, teacher).sum(), student)
    return found


def turned(value: Tensor, seed: int) -> Tensor:
    """The same states seen along other axes."""
    turn, _ = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.manual_seed(seed), dtype=torch.float64))
    return value @ turn


# --- all of them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HIDDEN_LOSSES)
def test_one_finite_number_a_row_never_negative_in_the_same_precision(name: str) -> None:
    found = cost(name, states(0), states(1))
    assert found.shape == (ROWS,)
    assert (found > 0).all()
    single = cost(name, states(0).float(), states(1).float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", HIDDEN_LOSSES)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    student, teacher = states(0).requires_grad_(), states(1)
    assert torch.autograd.gradcheck(lambda x: cost(name, x, teacher), student)


@pytest.mark.parametrize("name", [name for name in HIDDEN_LOSSES if name != "contrastive"])
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.01, 100))
def test_the_teachers_own_states_cost_nothing_and_stay(name: str, seed: int, scale: float) -> None:
    teacher = scale * states(seed)
    torch.testing.assert_close(cost(name, teacher, teacher), torch.zeros(ROWS, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(gradient(name, teacher, teacher), torch.zeros_like(teacher), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", HIDDEN_LOSSES)
def test_rows_may_come_in_any_order(name: str) -> None:
    order = torch.randperm(ROWS, generator=torch.manual_seed(3))
    whole = cost(name, states(0), states(1))
    torch.testing.assert_close(cost(name, states(0)[order], states(1)[order]), whole[order])


@pytest.mark.parametrize("name", ALONE)
def test_rows_do_not_depend_on_their_company(name: str) -> None:
    whole = cost(name, states(0), states(1))
    each = [cost(name, states(0)[row : row + 1], states(1)[row : row + 1]) for row in range(ROWS)]
    torch.testing.assert_close(torch.cat(each), whole)


@pytest.mark.parametrize("name", TOGETHER)
def test_rows_that_are_said_to_be_compared_are(name: str) -> None:
    student, teacher, whole = states(0), states(1), cost(name, states(0), states(1))
    student[-1], teacher[-1] = 3, torch.arange(WIDTH)
    assert not torch.isclose(cost(name, student, teacher)[:-1], whole[:-1]).any()


@pytest.mark.parametrize("name", TOGETHER)
def test_a_row_alone_has_nothing_to_be_compared_with(name: str) -> None:
    torch.testing.assert_close(cost(name, states(0, rows=1), states(1, rows=1)), torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize("name", HIDDEN_LOSSES)
def test_layers_are_averaged(name: str) -> None:
    each = [cost(name, states(0)[:, i : i + 1], states(1)[:, i : i + 1]) for i in range(LAYERS)]
    torch.testing.assert_close(torch.stack(each).mean(0), cost(name, states(0), states(1)))


@pytest.mark.parametrize("name", HIDDEN_LOSSES)
@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_small_batches_and_empty_states_give_finite_gradients(name: str, rows: int) -> None:
    teacher = states(1, rows).float()
    for student in (states(0, rows).float(), torch.zeros_like(teacher), teacher.mean(0).expand(rows, -1, -1)):
        assert cost(name, student, teacher).shape == (rows,)
        assert cost(name, student, teacher).isfinite().all()
        assert gradient(name, student, teacher).isfinite().all()
        assert gradient(name, student, torch.zeros_like(teacher)).isfinite().all()


@pytest.mark.parametrize("name", HIDDEN_LOSSES)
def test_equal_texts_in_a_batch_do_no_harm(name: str) -> None:
    student, teacher = states(0).float(), states(1).float()
    student[1], teacher[1] = student[0], teacher[0]
    student[2] = student[0]  # the student's tokenizer cannot tell what the teacher's can
    assert gradient(name, student, teacher).abs().max() < 100


@pytest.mark.parametrize("name", ANY_WIDTH)
def test_widths_may_differ(name: str) -> None:
    narrow, wide = states(0, width=3), states(1, width=9)
    assert cost(name, narrow, wide).shape == (ROWS,)
    wider = torch.cat([narrow, torch.zeros(ROWS, LAYERS, 4, dtype=torch.float64)], dim=-1)
    torch.testing.assert_close(cost(name, narrow, wide), cost(name, wider, wide))


@pytest.mark.parametrize("name", ANY_WIDTH)
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.05, 50))
def test_turned_and_scaled_states_relate_as_before(name: str, seed: int, scale: float) -> None:
    teacher = states(seed)
    same = cost(name, scale * turned(teacher, seed), teacher)
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", HIDDEN_LOSSES)
def test_going_down_the_gradient_ends_where_each_text_is_nearest_to_itself(name: str) -> None:
    """Nearest by what the loss itself calls near: by place, or by its relations to the others."""
    teacher, student = states(1, layers=1), states(0, layers=1).requires_grad_()
    start = cost(name, student.detach(), teacher).mean()
    optimizer = torch.optim.Adam([student], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        cost(name, student, teacher).mean().backward()
        optimizer.step()
    end = student.detach()
    assert cost(name, end, teacher).mean() < start / 20
    if name not in ANY_WIDTH:
        likeness = F.normalize(end[:, 0], dim=-1) @ F.normalize(teacher[:, 0], dim=-1).T
        assert (likeness.argmax(-1) == torch.arange(ROWS)).all()


# --- each alone --------------------------------------------------------------------------------------------------


def test_mse_by_hand() -> None:
    student, teacher = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    assert hidden_mse.loss(student, teacher).tolist() == [2.0]
    assert float(hidden_mse.loss(2 * teacher, teacher)) == 1.25  # length matters


def test_patient_by_hand_and_as_twice_the_cosine() -> None:
    student, teacher = torch.tensor([[[3.0, 0.0]], [[5.0, 0.0]]]), torch.tensor([[[0.0, 7.0]], [[0.1, 0.0]]])
    assert hidden_patient.loss(student, teacher).tolist() == pytest.approx([2.0, 0.0])
    torch.testing.assert_close(hidden_patient.loss(states(0), states(1)), 2 * hidden_cosine.loss(states(0), states(1)))


def _huber(one: float, other: float) -> float:
    apart = abs(one - other)
    return apart**2 / 2 if apart < 1 else apart - 0.5


def _plain_relational(student: np.ndarray, teacher: np.ndarray) -> list[float]:
    """The paper's equations as loops, for one layer."""

    def distance(x: np.ndarray, i: int, j: int) -> float:
        pairs = list(itertools.permutations(range(len(x)), 2))
        mean = np.mean([np.linalg.norm(x[a] - x[b]) for a, b in pairs])
        return float(np.linalg.norm(x[i] - x[j]) / mean)

    def angle(x: np.ndarray, i: int, j: int, k: int) -> float:
        one, other = x[i] - x[j], x[k] - x[j]
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    rows = range(len(student))
    return [
        np.mean([_huber(distance(student, i, j), distance(teacher, i, j)) for i in rows if i != j])
        + 2
        * np.mean(
            [
                _huber(angle(student, i, j, k), angle(teacher, i, j, k))
                for i, k in itertools.permutations(rows, 2)
                if j not in (i, k)
            ]
        )
        for j in rows
    ]


def test_relational_is_the_papers_loop() -> None:
    student, teacher = states(0, width=3), states(1, width=4)
    layers = [_plain_relational(student[:, i].numpy(), teacher[:, i].numpy()) for i in range(LAYERS)]
    assert hidden_relational.loss(student, teacher).tolist() == pytest.approx(np.mean(layers, axis=0).tolist())


def test_relational_does_not_see_where_the_states_are() -> None:
    shifted = states(0) + torch.tensor([100.0, -50, 7, 0, 3], dtype=torch.float64)
    found = hidden_relational.loss(shifted, states(0))
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-8)
    # In single precision too, where the product of far states has no digits left for what tells them apart.
    far = (states(0) + 1000).float()
    assert hidden_relational.loss(far, (far.double() - 1000).float()).max() < 1e-6


def test_similarity_by_hand() -> None:
    """Two texts at right angles, which the teacher takes for the same: (1, 0) against (1, 1) / sqrt 2."""
    student, teacher = torch.eye(2)[:, None], torch.ones(2, 1, 3)
    assert hidden_similarity.loss(student, teacher).tolist() == pytest.approx([2 - math.sqrt(2)] * 2)


def test_similarity_is_the_papers_times_the_rows_of_the_batch() -> None:
    student, teacher = states(0, layers=1), states(1, layers=1, width=7)
    grams = [side[:, 0] @ side[:, 0].T for side in (student, teacher)]
    rows = [gram / gram.norm(dim=1, keepdim=True) for gram in grams]
    squares, found = (rows[0] - rows[1]).square(), hidden_similarity.loss(student, teacher)
    torch.testing.assert_close(found.mean(), ROWS * squares.sum() / ROWS**2)
    torch.testing.assert_close(found, squares.sum(1))


def test_contrastive_by_hand() -> None:
    """Four texts at right angles, cosines divided by 0.1: e^10 against three times e^0."""
    teacher = torch.eye(4, dtype=torch.float64)[:, None]
    right = math.log1p(3 * math.exp(-10))
    assert hidden_contrastive.loss(5 * teacher, teacher).tolist() == pytest.approx([right] * 4)
    wrong = math.log(math.exp(10) + 3)
    assert hidden_contrastive.loss(teacher.roll(1, 0), teacher).tolist() == pytest.approx([wrong] * 4)


def test_contrastive_asks_which_of_the_teachers_states_is_the_students() -> None:
    """Not the other way round: a student near the teacher's state of another text pays, that other text does not."""
    teacher = torch.eye(3, dtype=torch.float64)[:, None]
    student = teacher.clone()
    student[0] = teacher[1]
    found = hidden_contrastive.loss(student, teacher)
    assert found[0] > 9
    torch.testing.assert_close(found[1:], hidden_contrastive.loss(teacher, teacher)[1:])
