"""A teacher whose head reads the mean of all tokens hands down the layer that takes it, on top of those it counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage.artifacts.averaging import averages
from tutelage.artifacts.network import Network
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.student import build, distil, growth, initialise, ladder, matching
from tutelage.student.build import Shape
from tutelage.tasks import TextClassification
from tutelage.teacher import load, signals
from tutelage.teacher.strategies import mean_layer

TASK = TextClassification(("negative", "positive"))
TEXTS = [row["text"] for row in tiny_models.reviews()][:40]
LAYERS = "bert.encoder.layer"


@pytest.fixture
def teacher(bert: Path) -> Network:
    network = load.load(str(bert), TASK, Reading(32))[0]
    mean_layer.add(network.model)
    return network


def create(teacher: Network, shape: Shape) -> Network:
    words = vocabulary.keep(teacher.tokenizer)
    return initialise.create(teacher, shape, tokenizer=words.tokenizer, kept=words.kept, seed=0)


def same(student: Network, ours: int, teacher: Network, theirs: int) -> bool:
    """Whether a layer's queries are those of a teacher's."""
    one = student.model.get_submodule(f"{LAYERS}.{ours}.attention.self.value").weight
    return torch.equal(one, teacher.model.get_submodule(f"{LAYERS}.{theirs}.attention.self.value").weight)


def test_layers_are_counted_without_it(teacher: Network) -> None:
    assert teacher.model.config.num_hidden_layers == 5
    assert build.shape_of(teacher.model.config) == Shape(4, 32, 4, 64, averages=True)
    whole = create(teacher, build.shape_of(teacher.model.config))
    np.testing.assert_allclose(
        whole.outputs(whole.tokenize(TEXTS)), teacher.outputs(teacher.tokenize(TEXTS)), atol=1e-6
    )


@pytest.mark.parametrize(("layers", "taken"), [(1, [3]), (2, [0, 3]), (3, [0, 2, 3])])
def test_a_student_has_its_layers_from_below_and_this_one_on_top(
    layers: int, taken: list[int], teacher: Network, tmp_path: Path
) -> None:
    shape = build.choose(StudentRecipe(layers=layers), teacher.model.config)
    assert shape == Shape(layers, 32, 4, 32, averages=True)
    student = create(teacher, shape)
    assert student.model.config.num_hidden_layers == layers + 1
    assert all(same(student, ours, teacher, theirs) for ours, theirs in enumerate([*taken, 4]))
    assert not student.model.get_submodule(f"{LAYERS}.{layers}.attention.self.query").weight.any()
    student.save(tmp_path / "student")
    plain = Network.load(tmp_path / "student", TASK, Reading(32))
    assert build.shape_of(plain.model.config) == shape
    tokens = student.tokenize(TEXTS)
    np.testing.assert_allclose(plain.outputs(tokens), student.outputs(tokens), atol=1e-6)


def test_other_shapes_have_the_names_that_they_had() -> None:
    four = {"layers": 2, "width": 32, "heads": 4, "feed_forward": 64}
    assert Shape(**four).identity() == four
    assert Shape(**four, averages=True).identity() == {**four, "averages": True}


def test_a_narrower_student_has_none(teacher: Network) -> None:
    shape = build.choose(StudentRecipe(layers=2, width=16), teacher.model.config)
    student = create(teacher, shape)
    assert (student.model.config.num_hidden_layers, averages(student.model.config)) == (2, False)


def test_where_the_recipe_does_not_count_it_is_one_of_the_layers(teacher: Network) -> None:
    """It takes as long as any other: a default student stays as fast as that of another teacher."""
    config = teacher.model.config
    for size, layers in (("auto", 1), ("small", 1), ("medium", 1)):
        shape = build.choose(StudentRecipe(size=size), config)
        assert (shape.layers, shape.averages) == (layers, True)
    # A map of two layers is for two, as it was before the teacher was made.
    mapped = build.choose(StudentRecipe(layer_map=[2, 4]), config)
    assert (mapped.layers, mapped.averages) == (2, True)
    assert matching.plan(StudentRecipe(layer_map=[2, 4]), mapped, build.shape_of(config)).theirs == (2, 4)


def test_the_fastest_rung_does_without(teacher: Network) -> None:
    settings = StudentRecipe(keep=0.97, max_mb=5)
    rungs = {rung.name: rung for rung in ladder.rungs(settings, teacher.model.config)}
    assert {name: (rung.shape.layers, rung.shape.averages) for name, rung in rungs.items()} == {
        "linear": (0, False),
        "static": (1, False),
        **{"narrow": (2, False), "one": (1, False), "two": (1, True), "half": (1, True), "whole": (4, True)},
    }
    # What is matched costs nothing where every token is computed anyway.
    assert not ladder.settings_for(rungs["one"], settings).hidden
    assert ladder.settings_for(rungs["two"], settings).hidden
    one = create(teacher, rungs["one"].shape)
    assert (one.model.config.num_hidden_layers, averages(one.model.config)) == (1, False)
    assert same(one, 0, teacher, 3)


def test_what_is_matched_is_below_it(teacher: Network) -> None:
    """Its queries are nothing, and its states are the same for every token."""
    full = build.shape_of(teacher.model.config)
    settings = StudentRecipe(layers=2, hidden=1.0, relations=1.0)
    made = matching.plan(settings, build.choose(settings, teacher.model.config), full)
    assert made.theirs == (2, 4)
    assert made.ours == (1, 2)
    assert made.relations == (2, 4)


def test_a_student_grows_below_it(teacher: Network, tmp_path: Path) -> None:
    given = StudentRecipe.model_validate({"epochs": 2, "learning_rate": 1e-9, "growth": {"new": "copy"}})
    shape, rows = Shape(2, 32, 4, 32, averages=True), split(TEXTS, [float(row % 2) for row in range(len(TEXTS))])
    student, plan = create(teacher, shape), matching.plan(given, shape, build.shape_of(teacher.model.config))
    with growth.lower(student.model, 1):
        assert student.model.config.num_hidden_layers == 2
    told = signals.record(teacher, [rows], plan.recording(2, 32), folder=tmp_path / "said", progress=Silent())
    transfer = distil.transfer_set(student, [rows], told)
    state = distil.distil(
        student, transfer, told, rows, given, seed=0, folder=tmp_path / "training", progress=Silent(), plan=plan
    )
    assert [epoch["stage"] for epoch in state.history] == [1, 2]
    lowest, second, top = (student.model.get_submodule(f"{LAYERS}.{number}.attention.self") for number in range(3))
    # The second layer is a copy of the lowest, and the one that averages still attends to all alike.
    assert torch.allclose(second.value.weight, lowest.value.weight, atol=1e-6)
    assert float(top.query.weight.abs().max()) < 1e-6
