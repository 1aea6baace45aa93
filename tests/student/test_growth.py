"""A student's layers learn from below, one after the other, in as many epochs as without, the same after a kill."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny_models
from splits import split
from tiny_training import Killed, killed_at
from tutelage import recipe as recipes
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Signals
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.errors import ModelError, RecipeError
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.student import build, distil, growth, initialise, matching
from tutelage.student.build import Shape
from tutelage.tasks import TextClassification
from tutelage.teacher import load, signals
from tutelage.teacher.strategies import mean_layer
from tutelage.training import loop

REVIEWS = tiny_models.reviews()[::10]
TEXTS = [row["text"] for row in REVIEWS]
ROWS = split(TEXTS, [float(row["label"] == "positive") for row in REVIEWS])
CLASSES = TextClassification(("negative", "positive"))
SHAPE = Shape(3, 32, 4, 32)


def settings(new: str = "teacher", start: int = 1, **changes: Any) -> StudentRecipe:
    """Three epochs, one for each layer."""
    given = {"epochs": 3, "learning_rate": 3e-3, "batch_size": 8, "patience": None, "checkpoint_minutes": 1e-9}
    grows = {"start": start, "new": new}
    return StudentRecipe.model_validate({**given, "growth": grows, **changes})


# --- which layers when -------------------------------------------------------------------------------------------


@given(st.integers(1, 12), st.integers(1, 12), st.integers(2, 20))
def test_steps_share_the_epochs_and_end_with_every_layer(layers: int, start: int, epochs: int) -> None:
    found = growth.steps(settings(start=start, epochs=epochs), layers)
    assert sum(step.settings.epochs for step in found) == epochs
    assert all(step.settings.growth is None for step in found)
    depths = [step.layers for step in found]
    if layers <= start:
        assert depths == [None]
        return
    assert depths[0] == start
    assert depths[-1] == layers
    assert depths == sorted(set(depths))  # type: ignore[type-var]
    assert len(found) == min(layers - start + 1, epochs)
    shares = [step.settings.epochs for step in found]
    assert shares == sorted(shares)
    assert shares[-1] - shares[0] <= 1


def test_without_growth_there_are_the_stages() -> None:
    (only,) = growth.steps(StudentRecipe(), 3)
    assert only.layers is None
    assert only.settings == StudentRecipe()


# --- a model with some of its layers -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher(bert: Path) -> Network:
    torch.manual_seed(0)
    network = load.load(str(bert), CLASSES, Reading(48))[0]
    with torch.no_grad():
        network.model.classifier.weight.mul_(300)
    return network


def student_of(teacher: Network) -> Network:
    words = vocabulary.trim(teacher.tokenizer, [teacher.tokenize(TEXTS)])
    return initialise.create(teacher, SHAPE, tokenizer=words.tokenizer, kept=words.kept, seed=0)


def test_lower_layers_are_a_model_of_their_own_and_the_whole_comes_back(teacher: Network) -> None:
    student = student_of(teacher)
    tokens = student.tokenize(TEXTS[:8])
    whole = student.outputs(tokens)
    with growth.lower(student.model, 1):
        assert sum("layer.1." in name for name, _ in student.model.named_parameters()) == 0
        one = student.outputs(tokens)
    with torch.no_grad():
        states = student.model.bert(
            **{
                key: getattr(student.collate(tokens, torch.arange(8).numpy()), key)
                for key in ("input_ids", "attention_mask")
            },
            output_hidden_states=True,
        ).hidden_states
        expected = student.model.classifier(student.model.bert.pooler(states[1]))
    assert torch.allclose(torch.from_numpy(one), expected, atol=1e-5)
    assert (student.outputs(tokens) == whole).all()
    assert student.model.config.num_hidden_layers == 3


@pytest.mark.parametrize("kind", ["gpt2", "modernbert"])
def test_decoders_and_others_have_a_stack_too(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, GPT2Config, ModernBertConfig

    small = {"vocab_size": 50, "num_labels": 2, "pad_token_id": 0}
    config = (
        GPT2Config(n_layer=3, n_embd=32, n_head=4, **small)
        if kind == "gpt2"
        else ModernBertConfig(num_hidden_layers=3, hidden_size=32, num_attention_heads=4, intermediate_size=32, **small)
    )
    model = AutoModelForSequenceClassification.from_config(config).eval()
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        before = model(input_ids=ids).logits
        with growth.lower(model, 2):
            states = model(input_ids=ids, output_hidden_states=True).hidden_states
            assert len(states) == 3
            assert not torch.equal(model(input_ids=ids).logits, before)
        again = model(input_ids=ids, output_hidden_states=True)
    assert torch.equal(again.logits, before)
    assert len(again.hidden_states) == 4


@pytest.mark.parametrize("new", ["teacher", "copy"])
def test_the_layer_that_averages_stays_on_top(new: str, bert: Path, tmp_path: Path) -> None:
    """It is never taken away, never made a copy, and does not count as a layer to put on."""
    averaging = load.load(str(bert), CLASSES, Reading(48))[0]
    mean_layer.add(averaging.model)
    given = settings(new, epochs=2)
    shape = build.choose(given, averaging.model.config)
    assert (shape.layers, shape.averages) == (1, True)
    with pytest.raises(ModelError, match="the student has 1"):
        growth.check(given, shape, averaging.model)
    two, words = dataclasses.replace(shape, layers=2), vocabulary.trim(averaging.tokenizer, [averaging.tokenize(TEXTS)])
    student = initialise.create(averaging, two, tokenizer=words.tokenizer, kept=words.kept, seed=0)
    with growth.lower(student.model, 1):
        lowered = student.model.bert.encoder.layer
        assert len(lowered) == student.model.config.num_hidden_layers == 2
        assert not lowered[1].attention.self.query.weight.any()
    plan = matching.plan(given, two, build.shape_of(averaging.model.config))
    recorded = told(averaging, plan, tmp_path / "signals")
    transfer = distil.transfer_set(student, [ROWS], recorded)
    student.model.bert.encoder.layer[2].requires_grad_(False)
    state = distil.distil(
        student, transfer, recorded, ROWS, given, seed=0, folder=tmp_path / "t", progress=Silent(), plan=plan
    )
    assert [epoch["stage"] for epoch in state.history] == [1, 2]
    assert not student.model.bert.encoder.layer[2].attention.self.query.weight.any()


def test_new_layers_may_be_copies(teacher: Network) -> None:
    student = student_of(teacher)
    layers = student.model.bert.encoder.layer
    growth.put_on(student.model, 1, 2)
    assert all(torch.equal(a, b) for a, b in zip(layers[0].parameters(), layers[1].parameters(), strict=True))
    assert layers[0].attention.self.query.weight is not layers[1].attention.self.query.weight
    assert not torch.equal(layers[2].attention.self.query.weight, layers[0].attention.self.query.weight)


# --- a whole training --------------------------------------------------------------------------------------------


def plan_of(teacher: Network, given: StudentRecipe) -> matching.Plan:
    return matching.plan(given, SHAPE, build.shape_of(teacher.model.config))


def told(teacher: Network, plan: matching.Plan, folder: Path) -> Signals:
    return signals.record(teacher, [ROWS], plan.recording(2, 32), folder=folder, progress=Silent())


def taught(teacher: Network, folder: Path, given: StudentRecipe) -> tuple[Network, list[dict[str, float]]]:
    student, plan = student_of(teacher), plan_of(teacher, given)
    recorded = told(teacher, plan, folder / "signals")
    transfer = distil.transfer_set(student, [ROWS], recorded)
    state = distil.distil(
        student, transfer, recorded, ROWS, given, seed=0, folder=folder / "t", progress=Silent(), plan=plan
    )
    return student, state.history


def same(one: Network, other: Network) -> bool:
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("changes", [{}, {"new": "copy"}], ids=["teacher", "copy"])
def test_killed_in_its_second_step_the_weights_are_the_same(
    changes: dict[str, Any], teacher: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = settings(**changes)
    whole, history = taught(teacher, tmp_path / "whole", grown)
    assert [epoch["stage"] for epoch in history] == [1, 2, 3]
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    plain, _ = taught(teacher, tmp_path / "plain", grown.model_copy(update={"growth": None}))
    assert not same(whole, plain)
    steps = -(-len(TEXTS) // 8)
    with monkeypatch.context() as patched:
        patched.setattr(loop._Training, "_step", killed_at(steps + 2, loop._Training._step))
        with pytest.raises(Killed):
            taught(teacher, tmp_path / "cut", grown)
    again, found = taught(teacher, tmp_path / "cut", grown)
    assert found == history
    assert same(whole, again)


def test_what_is_not_there_yet_is_not_followed(teacher: Network) -> None:
    given = settings(attention=1.0, relations=1.0, hidden_of="token", hidden_embeddings=True)
    plan = plan_of(teacher, given)
    lower = plan.up_to(2)
    assert lower.ours == (0, 1, 2)
    assert lower.theirs == plan.theirs[:3]
    assert lower.attention == plan.attention[:2]
    assert lower.relations == (2, 4)
    assert plan.up_to(None) is plan is not lower
    assert plan.up_to(3) == plan


def test_every_kind_of_matching_goes_with_it(teacher: Network, tmp_path: Path) -> None:
    given = settings(
        attention=1.0, relations=1.0, hidden_of="token", layer_map="learned", weighting="uncertainty", epochs=2
    )
    _, history = taught(teacher, tmp_path, given)
    assert len(history) == 2


# --- what is refused ---------------------------------------------------------------------------------------------


def recipe(**student: Any) -> recipes.Recipe:
    value = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "out", "student": student}
    return recipes.load(value)


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ({"growth": {}, "stages": [{"epochs": 1}]}, "`growth` makes stages of its own"),
        ({"growth": {}, "epochs": 1}, "`growth` needs two epochs at least"),
        ({"growth": {"begin": 2}}, "student.growth.begin: unknown key"),
        ({"growth": {"start": 0}}, "student.growth.start: 0 was given"),
    ],
)
def test_what_cannot_be_is_told(student: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe(**student)


def test_a_student_that_has_no_more_layers_cannot_grow(teacher: Network) -> None:
    with pytest.raises(ModelError, match="begins with 3 layers, and the student has 3"):
        growth.check(settings(start=3), SHAPE, teacher.model)
    growth.check(settings(start=2), SHAPE, teacher.model)
    growth.check(settings(start=3, keep=0.9), SHAPE, teacher.model)


def test_a_model_of_two_stacks_cannot_grow_but_narrower_students_of_it_can(tmp_path: Path) -> None:
    from transformers import T5Config, T5ForSequenceClassification

    config = T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=32, num_layers=4, num_heads=4)
    model = T5ForSequenceClassification(config)
    with pytest.raises(ModelError, match="are not one stack"):
        growth.check(settings(), Shape(2, 32, 4, 32), model)
    growth.check(settings(), Shape(2, 16, 2, 32), model)


def test_a_student_that_does_not_grow_is_known_by_what_it_was_known_by_before() -> None:
    assert "growth" not in StudentRecipe().identity()
    assert settings().identity()["growth"] == {"start": 1, "new": "teacher"}
