"""What the losses promise, as properties: minima, gradients, agreement with torch, rows on their own."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tutelage import tasks
from tutelage.student.losses import LOSSES, hidden_cosine, huber, soft_cross_entropy

ROWS, CLASSES = 16, 5
TEMPERATURES = [0.5, 1.0, 2.0, 5.0]
NAN = float("nan")


def logits(seed: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(ROWS, CLASSES, generator=torch.manual_seed(seed), dtype=torch.float64)


def soft(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Soft cross-entropy with targets that would poison the result if they were looked at."""
    return soft_cross_entropy.loss(student, teacher, torch.full((len(student),), NAN), temperature)


def gradient(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    student = student.clone().requires_grad_()
    (found,) = torch.autograd.grad(soft(student, teacher, temperature).sum(), student)
    return found


# --- every loss of the teacher's outputs -------------------------------------------------------------------------


def example(name: str, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    student, teacher = logits(seed), logits(seed + 1)
    targets = (torch.arange(ROWS) % CLASSES).double()
    if LOSSES[name].outputs == "quantities":
        student, teacher = student[:, :1], teacher[:, :1]
        targets = torch.randn(ROWS, generator=torch.manual_seed(seed + 2), dtype=torch.float64)
    targets[::3] = NAN
    return student, teacher, targets


def test_every_task_names_a_loss_that_exists() -> None:
    for task in tasks.TASKS.values():
        assert task.default_loss in LOSSES


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_one_finite_number_a_row_and_never_negative(name: str) -> None:
    loss = LOSSES[name].compute(*example(name), 2.0)
    assert loss.shape == (ROWS,)
    assert torch.isfinite(loss).all()
    assert (loss >= 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_rows_may_come_in_any_order_and_alone_unless_they_are_compared(name: str) -> None:
    batch, compute = example(name), LOSSES[name].compute
    whole = compute(*batch, 2.0)
    order = torch.randperm(ROWS, generator=torch.manual_seed(7))
    torch.testing.assert_close(compute(*(part[order] for part in batch), 2.0), whole[order])
    split = torch.cat([compute(*(part[row : row + 1] for part in batch), 2.0) for row in range(ROWS)])
    if LOSSES[name].compares_rows:
        assert not torch.isclose(split, whole).any()
    else:
        torch.testing.assert_close(split, whole)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences_and_are_finite(name: str) -> None:
    student, teacher, targets = example(name)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: LOSSES[name].compute(x, teacher, targets, 2.0), student)


@pytest.mark.parametrize("name", LOSSES)
def test_single_precision_stays_single_precision(name: str) -> None:
    student, teacher, targets = example(name)
    loss = LOSSES[name].compute(student.float(), teacher.float(), targets.float(), 1.0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(
        loss.double(), LOSSES[name].compute(student, teacher, targets, 1.0), rtol=1e-4, atol=1e-5
    )


# --- soft cross-entropy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_it_is_least_when_the_student_says_what_the_teacher_says(temperature: float) -> None:
    teacher = logits(0)
    least = soft(teacher, teacher, temperature)
    torch.testing.assert_close(gradient(teacher, teacher, temperature), torch.zeros_like(teacher))
    for seed, scale in itertools.product(range(1, 6), (0.01, 0.5, 3.0)):
        assert (soft(teacher + logits(seed, scale), teacher, temperature) > least).all()
    shifted = teacher + torch.arange(ROWS, dtype=torch.float64)[:, None]  # logits are defined up to a constant
    torch.testing.assert_close(soft(shifted, teacher, temperature), least)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_it_is_kl_plus_the_teachers_entropy(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    told = F.softmax(teacher / temperature, dim=-1)
    entropy = torch.distributions.Categorical(probs=told).entropy()
    kl = F.kl_div(F.log_softmax(student / temperature, dim=-1), told, reduction="none").sum(-1)
    torch.testing.assert_close(soft(student, teacher, temperature), kl + entropy)
    torch.testing.assert_close(soft(teacher, teacher, temperature) - entropy, torch.zeros(ROWS, dtype=torch.float64))


def test_a_certain_teacher_at_temperature_one_is_a_label() -> None:
    student, labels = logits(0), torch.arange(ROWS) % CLASSES
    certain = 1e4 * F.one_hot(labels, CLASSES).double()
    torch.testing.assert_close(soft(student, certain), F.cross_entropy(student, labels, reduction="none"))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_its_gradient_is_the_difference_of_the_softened_answers(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    difference = F.softmax(student / temperature, dim=-1) - F.softmax(teacher / temperature, dim=-1)
    torch.testing.assert_close(gradient(student, teacher, temperature), difference / temperature)


def test_times_the_square_of_the_temperature_the_gradient_keeps_its_size() -> None:
    """Why the caller multiplies: without the factor it falls with the square (Hinton et al. 2015, section 2)."""
    student, teacher = logits(0, 0.5), logits(1, 0.5)
    plain = {t: float(gradient(student, teacher, t).norm()) for t in (1.0, 4.0, 16.0)}
    scaled = {t: t**2 * size for t, size in plain.items()}
    assert plain[16.0] < plain[1.0] / 100
    assert max(scaled.values()) / min(scaled.values()) < 1.3
    # In the limit it is that of half the squared distance between logits of mean zero, divided by their number.
    centred = [side - side.mean(1, keepdim=True) for side in (student, teacher)]
    limit = (centred[0] - centred[1]) / CLASSES
    torch.testing.assert_close(1e6 * gradient(student, teacher, 1e3), limit, rtol=1e-2, atol=1e-3)


def test_huge_logits_do_not_overflow() -> None:
    huge = torch.tensor([[1e4, -1e4, 0.0]])
    assert torch.isfinite(soft(huge, -huge)).all()
    assert float(soft(huge, huge)) == 0.0


# --- huber -------------------------------------------------------------------------------------------------------


def test_huber_equals_torchs_where_there_is_no_label() -> None:
    student, teacher, _ = example("huber")
    loss = huber.loss(student, teacher, torch.full((ROWS,), NAN), 1.0)
    torch.testing.assert_close(loss, F.huber_loss(student[:, 0], teacher[:, 0], reduction="none"))
    assert float(loss.min()) < 0.5 < float(loss.max())  # both the square and the straight part were met


def test_huber_equals_torchs_where_the_teacher_agrees_with_the_label() -> None:
    student, teacher, _ = example("huber")
    near = teacher[:, 0] + torch.linspace(-1, 1, ROWS, dtype=torch.float64) * 0.999
    expected = F.huber_loss(student[:, 0], teacher[:, 0], reduction="none")
    torch.testing.assert_close(huber.loss(student, teacher, near, 1.0), expected)


def test_a_teacher_far_from_the_label_is_replaced_by_it() -> None:
    student, teacher = torch.zeros(4, 1), torch.tensor([[5.0], [5.0], [-5.0], [0.5]])
    labels = torch.tensor([0.0, 3.9, -3.9, NAN])
    expected = [0.0, 3.9 - 0.5, 3.9 - 0.5, 0.125]
    assert huber.loss(student, teacher, labels, 1.0).tolist() == pytest.approx(expected)
    # Whatever an outlier says, the loss is the same.
    further = torch.tensor([[50.0], [500.0], [-50.0], [0.5]])
    torch.testing.assert_close(huber.loss(student, further, labels, 1.0), huber.loss(student, teacher, labels, 1.0))


def test_a_missing_label_poisons_neither_value_nor_gradient() -> None:
    student, teacher, _ = example("huber")
    student.requires_grad_()
    teacher = teacher.clone().requires_grad_()
    loss = huber.loss(student, teacher, torch.full((ROWS,), NAN, dtype=torch.float64), 1.0)
    loss.sum().backward()
    for side in (student, teacher):
        assert side.grad is not None
        assert torch.isfinite(side.grad).all()
    assert student.grad.abs().max() <= 1.0  # a straight line far out: no row pulls harder than one


@pytest.mark.parametrize("name", ["huber", "value-mse"])
def test_a_quantity_has_no_temperature(name: str) -> None:
    batch, compute = example(name), LOSSES[name].compute
    torch.testing.assert_close(compute(*batch, 1.0), compute(*batch, 9.0))


def test_squared_values_follow_the_teacher_whatever_the_label_is() -> None:
    student, teacher, targets = example("value-mse")
    found = LOSSES["value-mse"].compute(student, teacher, targets, 1.0)
    torch.testing.assert_close(found, (student - teacher).square()[:, 0])
    torch.testing.assert_close(LOSSES["value-mse"].compute(student, teacher, targets + 9, 1.0), found)


# --- direction of hidden states ----------------------------------------------------------------------------------


def states(seed: int) -> Tensor:
    return torch.randn(ROWS, 3, 8, generator=torch.manual_seed(seed), dtype=torch.float64)


def test_hidden_states_of_equal_direction_cost_nothing_and_of_opposite_most() -> None:
    one = states(0)
    torch.testing.assert_close(hidden_cosine.loss(one, one), torch.zeros(ROWS, dtype=torch.float64))
    torch.testing.assert_close(hidden_cosine.loss(one, -one), torch.full((ROWS,), 2.0, dtype=torch.float64))
    between = hidden_cosine.loss(one, states(1))
    assert between.shape == (ROWS,)
    assert ((between > 0) & (between < 2)).all()


def test_the_length_of_hidden_states_does_not_matter() -> None:
    one, other = states(0), states(1)
    expected = hidden_cosine.loss(one, other)
    torch.testing.assert_close(hidden_cosine.loss(0.01 * one, 100 * other), expected)
    each = torch.rand(ROWS, 3, 1, generator=torch.manual_seed(2), dtype=torch.float64) + 0.1
    torch.testing.assert_close(hidden_cosine.loss(each * one, other), expected)


def test_hidden_states_are_compared_row_by_row_and_layer_by_layer() -> None:
    one, other = states(0), states(1)
    whole = hidden_cosine.loss(one, other)
    order = torch.randperm(ROWS, generator=torch.manual_seed(3))
    torch.testing.assert_close(hidden_cosine.loss(one[order], other[order]), whole[order])
    layers = [hidden_cosine.loss(one[:, i : i + 1], other[:, i : i + 1]) for i in range(3)]
    torch.testing.assert_close(torch.stack(layers).mean(0), whole)


def test_a_state_of_zeros_gives_a_finite_gradient() -> None:
    silent = torch.zeros(2, 3, 8, requires_grad=True)
    hidden_cosine.loss(silent, torch.ones(2, 3, 8)).sum().backward()
    assert silent.grad is not None
    assert torch.isfinite(silent.grad).all()
