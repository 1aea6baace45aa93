"""Arithmetic in half precision."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage import recipe
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe_training import Arithmetic, TrainingRecipe
from tutelage.tasks import TextClassification, TextRegression
from tutelage.teacher import load, signals
from tutelage.training import head, precision, supervised

ROWS = tiny_models.reviews()[:64]
TASK = TextClassification(("negative", "positive"))
needs_units = pytest.mark.skipif(not precision.has_units(), reason="this processor has no units for bf16")


@pytest.fixture
def network(bert: Path) -> Network:
    torch.manual_seed(0)
    return load.load(str(bert), TASK, Reading(32))[0]


def sized(width: int) -> torch.nn.Module:
    model = torch.nn.Module()
    model.config = SimpleNamespace(hidden_size=width)  # type: ignore[assignment]
    return model


WIDE = sized(384)


def product() -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.nn.functional.linear(torch.randn(64, 128, generator=random), torch.randn(64, 128, generator=random))


@needs_units
def test_products_are_rounded_within_and_exact_again_afterwards() -> None:
    exact = product()
    with precision.precision("bf16", WIDE):
        rounded = product().float()
    assert not torch.equal(rounded, exact)
    # Two factors and a sum with 8 bits each, over 128 products.
    torch.testing.assert_close(rounded, exact, rtol=0, atol=128 * 2**-7)
    assert torch.equal(product(), exact)


@needs_units
def test_an_error_within_leaves_nothing_behind() -> None:
    exact = product()
    with pytest.raises(KeyError), precision.precision("bf16", WIDE):
        raise KeyError
    assert torch.equal(product(), exact)


def test_fp32_changes_nothing() -> None:
    exact = product()
    with precision.precision("fp32", WIDE):
        assert torch.equal(product(), exact)


@pytest.mark.parametrize(
    ("wanted", "width", "half"),
    [("auto", 384, True), ("auto", 128, False), ("bf16", 128, True), ("fp32", 384, False)],
)
def test_auto_rounds_what_is_wide(monkeypatch: pytest.MonkeyPatch, wanted: Arithmetic, width: int, half: bool) -> None:
    monkeypatch.setattr(precision, "has_units", lambda: True)
    inside = torch.nn.Sequential(torch.nn.Identity(), sized(width))
    assert precision.is_half(wanted, sized(width)) is half
    assert precision.is_half(wanted, inside) is half
    assert not precision.is_half("auto", torch.nn.Linear(512, 512))


@needs_units
def test_exact_within_half_precision_is_exact() -> None:
    exact = product()
    with precision.precision("bf16", WIDE), precision.exact():
        assert torch.equal(product(), exact)


def test_without_units_products_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_units", lambda: False)
    exact = product()
    with precision.precision("bf16", WIDE), precision.precision("auto", WIDE):
        assert torch.equal(product(), exact)


@needs_units
def test_a_teacher_is_recorded_nearly_the_same_and_never_mistaken_for_the_other(
    network: Network, tmp_path: Path
) -> None:
    rows = split([row["text"] for row in ROWS])
    found = {}
    for wanted in ("fp32", "bf16"):
        recorded = signals.record(
            network, [rows], Recording(2, precision=wanted), folder=tmp_path / wanted, progress=Silent()
        )
        found[wanted] = recorded.outputs(recorded.find(rows.keys), rows.keys), recorded.folder.name
    assert found["fp32"][1] != found["bf16"][1]
    assert not np.array_equal(found["fp32"][0], found["bf16"][0])
    np.testing.assert_allclose(found["bf16"][0], found["fp32"][0], rtol=0, atol=0.03)


def test_values_in_the_users_unit_are_not_rounded_away(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Years: bfloat16 has every eighth of them."""
    monkeypatch.setattr(precision, "has_units", lambda: True)  # without any it is slower, and the same
    years = TextRegression(2000.0, 10.0)
    torch.manual_seed(0)
    network = load.load(str(bert), years, Reading(32))[0]
    head.rescale(network.model, 1, factor=100.0, shift=2000.0)
    rows = split([row["text"] for row in ROWS])
    found = {}
    for wanted in ("fp32", "bf16"):
        recorded = signals.record(
            network, [rows], Recording(1, precision=wanted), folder=tmp_path / wanted, progress=Silent()
        )
        found[wanted] = recorded.outputs(recorded.find(rows.keys), rows.keys)
    assert not np.array_equal(found["fp32"], found["bf16"])
    np.testing.assert_allclose(found["bf16"], found["fp32"], rtol=0, atol=0.05)
    # The head is as it was.
    assert "forward" not in vars(head.last_linear(network.model, 1))


@needs_units
def test_training_takes_it_and_leaves_plain_weights(bert: Path, tmp_path: Path) -> None:
    labelled = split([row["text"] for row in ROWS], [float(row["label"] == "positive") for row in ROWS])
    histories = {}
    for wanted in ("fp32", "bf16", "bf16 again"):
        torch.manual_seed(0)
        given = load.load(str(bert), TASK, Reading(32))[0]
        settings = TrainingRecipe(epochs=2, learning_rate=1e-3, precision=wanted.split()[0])
        histories[wanted] = supervised.fit_labels(
            given, labelled, labelled, settings, title="", seed=0, folder=tmp_path / wanted, progress=Silent()
        ).history
        assert {parameter.dtype for parameter in given.model.parameters()} == {torch.float32}
    assert histories["bf16"] == histories["bf16 again"] != histories["fp32"]
    assert histories["bf16"][-1]["loss"] == pytest.approx(histories["fp32"][-1]["loss"], rel=0.05)


def test_teachers_take_it_by_default_and_nobody_else() -> None:
    given = recipe.load({"task": "text-classification", "data": {"train": "train.csv"}, "output": "run"})
    assert (given.teacher.precision, given.student.precision) == ("auto", "fp32")
    assert TrainingRecipe().precision == "fp32"


def test_a_recipe_names_it_for_teacher_and_student() -> None:
    given = recipe.load(
        {
            "task": "text-classification",
            "data": {"train": "train.csv"},
            "teacher": {"precision": "bf16"},
            "output": "run",
        }
    )
    assert (given.teacher.precision, given.student.precision) == ("bf16", "fp32")
