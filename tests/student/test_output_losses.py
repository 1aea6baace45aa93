"""What each loss of the teacher's outputs promises beyond what all of them do, with values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import zscore
from torch import Tensor

from tutelage.student.losses import LOSSES, dist, dkd, generalised_jsd, kl, logit_mse, soft_cross_entropy, standardised

SCORES = [name for name, entry in LOSSES.items() if entry.outputs == "scores"]
TEMPERATURES = [0.5, 1.0, 4.0]


def logits(seed: int, rows: int = 8, classes: int = 4, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(rows, classes, generator=torch.manual_seed(seed), dtype=torch.float64)


def unknown(rows: int) -> Tensor:
    return torch.full((rows,), math.nan, dtype=torch.float64)


def cost(name: str, student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    return LOSSES[name].compute(student, teacher, unknown(len(student)).to(student), temperature)


def gradient(name: str, student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    student = student.clone().requires_grad_()
    (found,) = torch.autograd.grad(cost(name, student, teacher, temperature).sum(), student)
    return found


def logs(*rows: list[float]) -> Tensor:
    """Logits whose softmax at temperature 1 are these probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log()


# --- every loss of scores ----------------------------------------------------------------------------------------


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits of a student and its teacher."""
    seed, rows, classes = draw(st.integers(0, 2**31)), draw(st.integers(2, 6)), draw(st.integers(3, 6))
    scale = draw(st.floats(0.1, 5))
    return logits(seed, rows, classes, scale), logits(seed + 1, rows, classes, scale)


@pytest.mark.parametrize("name", SCORES)
@settings(deadline=None, max_examples=25)
@given(pairs(), st.floats(0.5, 8))
def test_nothing_costs_less_than_to_agree(name: str, pair: tuple[Tensor, Tensor], temperature: float) -> None:
    student, teacher = pair
    goal = teacher / temperature if name == "annealed-mse" else teacher  # which is followed as it has cooled
    agreed = cost(name, goal, teacher, temperature)
    if name != "soft-cross-entropy":  # which ends at the teacher's entropy
        torch.testing.assert_close(agreed, torch.zeros_like(agreed), rtol=0, atol=1e-9)
    assert (cost(name, student, teacher, temperature) >= agreed - 1e-9).all()
    torch.testing.assert_close(gradient(name, goal, teacher, temperature), torch.zeros_like(teacher), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SCORES)
@settings(deadline=None, max_examples=25)
@given(pairs(), st.floats(0.5, 8))
def test_what_is_added_to_all_logits_of_a_row_changes_nothing(
    name: str, pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    student, teacher = pair
    shift = torch.linspace(-20, 20, len(student), dtype=torch.float64)[:, None]
    expected = cost(name, student, teacher, temperature)
    torch.testing.assert_close(cost(name, student + shift, teacher, temperature), expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(cost(name, student, teacher - shift, temperature), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", SCORES)
def test_going_down_the_gradient_ends_at_the_teachers_answers(name: str) -> None:
    teacher, student = logits(0, rows=12), logits(1, rows=12).requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        cost(name, student, teacher).sum().backward()
        optimizer.step()
    assert (student.argmax(-1) == teacher.argmax(-1)).all()
    assert (cost(name, student.detach(), teacher) - cost(name, teacher, teacher)).max() < 0.01


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("size", [0.0, 1e-4, 1e2, 1e4])
def test_extreme_and_equal_logits_give_finite_values_and_gradients(name: str, size: float) -> None:
    teacher = torch.eye(4) * 1e4
    for student in (size * -torch.eye(4), size * torch.eye(4), size * torch.eye(4).roll(1, 0)):
        assert cost(name, student, teacher).isfinite().all()
        assert gradient(name, student, teacher).isfinite().all()
        assert gradient(name, student, torch.zeros(4, 4)).isfinite().all()


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_of_one_row_or_none_is_no_accident(name: str, rows: int) -> None:
    """The last batch of an epoch, a batch cut for memory, and the share of one process may be that small."""
    found = cost(name, logits(0, rows), logits(1, rows))
    assert found.shape == (rows,)
    assert found.isfinite().all()
    assert gradient(name, logits(0, rows), logits(1, rows)).isfinite().all()


# --- kl ----------------------------------------------------------------------------------------------------------


def test_kl_of_two_coins() -> None:
    told, said = logs([0.75, 0.25]), logs([0.5, 0.5])
    assert float(kl.loss(said, told, unknown(1), 1.0)) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    # Not the other way round.
    assert float(kl.loss(told, said, unknown(1), 1.0)) == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(2))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_kl_teaches_what_soft_cross_entropy_does(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    expected = gradient("soft-cross-entropy", student, teacher, temperature)
    torch.testing.assert_close(gradient("kl", student, teacher, temperature), expected)
    entropy = soft_cross_entropy.loss(teacher, teacher, unknown(8), temperature)
    whole = soft_cross_entropy.loss(student, teacher, unknown(8), temperature)
    torch.testing.assert_close(kl.loss(student, teacher, unknown(8), temperature), whole - entropy)


# --- squared distance of logits ----------------------------------------------------------------------------------


def test_logit_mse_by_hand_and_without_the_temperature() -> None:
    student, teacher = torch.tensor([[4.0, 1.0, 1.0]]), torch.tensor([[5.0, 5.0, 5.0]])
    # Around their means: (2, -1, -1) and (0, 0, 0); 6 / (2 * 3).
    assert float(logit_mse.loss(student, teacher, unknown(1), 1.0)) == pytest.approx(1.0)
    for temperature in TEMPERATURES:
        scaled = temperature**2 * logit_mse.loss(student, teacher, unknown(1), temperature)
        assert float(scaled) == pytest.approx(1.0)


def test_logit_mse_is_what_kl_tends_to_when_the_temperature_grows() -> None:
    student, teacher = logits(0), logits(1)
    limit = 1e6 * kl.loss(student, teacher, unknown(8), 1e3)
    torch.testing.assert_close(limit, logit_mse.loss(student, teacher, unknown(8), 1.0), rtol=1e-2, atol=1e-3)


# --- decoupled ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_two_parts_make_up_kl(temperature: float) -> None:
    """Equation 7 of the paper: KL = target + (1 - p_t) * others."""
    student, teacher, classes = logits(0), logits(1), torch.arange(8) % 4
    target, others = dkd.parts(student, teacher, classes.double(), temperature)
    mine = (teacher / temperature).softmax(-1)[torch.arange(8), classes]
    torch.testing.assert_close(target + (1 - mine) * others, kl.loss(student, teacher, unknown(8), temperature))


def test_the_other_classes_keep_their_weight_under_a_sure_teacher() -> None:
    told, said = logs([0.5, 0.25, 0.25], [0.98, 0.01, 0.01]), logs([0.5, 0.375, 0.125], [0.98, 0.015, 0.005])
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)  # the first class is told right in both rows
    found = dkd.loss(said, told, torch.zeros(2, dtype=torch.float64), 1.0)
    assert found.tolist() == pytest.approx([expected, expected])
    assert kl.loss(said, told, unknown(2), 1.0).tolist() == pytest.approx([0.5 * expected, 0.02 * expected])


def test_a_row_without_a_label_takes_the_teachers_first_class() -> None:
    student, teacher = logits(0), logits(1)
    known = teacher.argmax(-1).double()
    missing = dkd.loss(student, teacher, unknown(8), 1.0)
    torch.testing.assert_close(missing, dkd.loss(student, teacher, known, 1.0))
    assert not torch.isclose(missing, dkd.loss(student, teacher, (known + 1) % 4, 1.0)).any()


def test_with_two_classes_decoupled_is_kl() -> None:
    student, teacher = logits(0, classes=2), logits(1, classes=2)
    for classes in (unknown(8), torch.zeros(8, dtype=torch.float64)):
        torch.testing.assert_close(dkd.loss(student, teacher, classes, 2.0), kl.loss(student, teacher, unknown(8), 2.0))


# --- correlations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_dist_is_one_minus_the_correlations_of_rows_and_of_columns(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    said, told = ((side / temperature).softmax(-1).numpy() for side in (student, teacher))
    rows = [1 - np.corrcoef(said[b], told[b])[0, 1] for b in range(8)]
    columns = np.mean([1 - np.corrcoef(said[:, k], told[:, k])[0, 1] for k in range(4)])
    assert dist.loss(student, teacher, unknown(8), temperature).tolist() == pytest.approx(list(rows + columns))


def test_a_row_alone_is_compared_over_its_classes_only() -> None:
    student, teacher = logits(0, rows=1), logits(1, rows=1)
    expected = 1 - np.corrcoef(student.softmax(-1)[0], teacher.softmax(-1)[0])[0, 1]
    assert float(dist.loss(student, teacher, unknown(1), 1.0)) == pytest.approx(expected)


def test_a_student_that_is_less_sure_in_proportion_costs_nothing() -> None:
    """Correlation sees neither centre nor spread of the probabilities: what a weak student cannot match anyway."""
    teacher = logits(0)
    fainter = (0.3 * teacher.softmax(-1) + 0.7 / 4).log()
    torch.testing.assert_close(dist.loss(fainter, teacher, unknown(8), 1.0), torch.zeros(8, dtype=torch.float64))
    assert (kl.loss(fainter, teacher, unknown(8), 1.0) > 0.01).all()


def test_with_two_classes_only_the_columns_teach() -> None:
    student, teacher = logits(0, rows=1, classes=2), logits(1, rows=1, classes=2)
    torch.testing.assert_close(gradient("dist", student, teacher), torch.zeros(1, 2, dtype=torch.float64))
    several = gradient("dist", logits(0, classes=2), logits(1, classes=2))
    assert (several.abs() > 1e-4).any()


# --- standardised logits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_standardised_is_kl_of_z_scores(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    scores = [torch.from_numpy(zscore(side.numpy(), axis=1)) for side in (student, teacher)]
    expected = kl.loss(scores[0], scores[1], unknown(8), temperature)
    found = standardised.loss(student, teacher, unknown(8), temperature)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.floats(0.05, 50), st.floats(-50, 50))
def test_neither_spread_nor_centre_of_the_logits_matters(seed: int, spread: float, centre: float) -> None:
    student, teacher = logits(seed), logits(seed + 1)
    expected = standardised.loss(student, teacher, unknown(8), 2.0)
    found = standardised.loss(spread * student + centre, teacher, unknown(8), 2.0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_two_classes_would_teach_nothing() -> None:
    """Why the recipe refuses it there."""
    found = gradient("standardised", logits(0, classes=2), logits(1, classes=2))
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-5)


# --- generalised Jensen-Shannon ----------------------------------------------------------------------------------


def test_jsd_is_scipys_and_symmetric() -> None:
    student, teacher = logits(0), logits(1)
    expected = jensenshannon(student.softmax(-1).numpy(), teacher.softmax(-1).numpy(), axis=1) ** 2
    found = generalised_jsd.loss(student, teacher, unknown(8), 1.0)
    assert found.tolist() == pytest.approx(list(expected))
    torch.testing.assert_close(generalised_jsd.loss(teacher, student, unknown(8), 1.0), found)


def test_jsd_is_at_most_log_two() -> None:
    opposite = generalised_jsd.loss(torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]]), unknown(1), 1.0)
    assert float(opposite) == pytest.approx(math.log(2))


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.8])
def test_beta_weighs_the_teachers_side(beta: float) -> None:
    told, said = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.2, 0.6])
    middle = beta * told + (1 - beta) * said
    expected = beta * (told * np.log(told / middle)).sum() + (1 - beta) * (said * np.log(said / middle)).sum()
    found = generalised_jsd.divergence(logs(said.tolist()), logs(told.tolist()), beta=beta)
    assert float(found) == pytest.approx(expected)


def test_jsd_uses_the_temperature_on_both_sides() -> None:
    student, teacher = logits(0), logits(1)
    expected = generalised_jsd.loss(student / 3, teacher / 3, unknown(8), 1.0)
    torch.testing.assert_close(generalised_jsd.loss(student, teacher, unknown(8), 3.0), expected)
