"""Students that follow their teacher token by token, by mixtures of layers, and in stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Signals
from tutelage.artifacts.token_states import HIDDEN, averaged, hear
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.errors import ModelError
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.student import build, distil, initialise, matching, stages
from tutelage.student.build import Shape
from tutelage.student.losses import ATTENTION_LOSSES, HIDDEN_LOSSES, relations
from tutelage.tasks import TextClassification
from tutelage.teacher import load, signals
from tutelage.training import checkpoint
from tutelage.training.loop import set_dropout

REVIEWS = tiny_models.reviews()[::6]
TEXTS = [row["text"] for row in REVIEWS]
ROWS = split(TEXTS, [float(row["label"] == "positive") for row in REVIEWS])
TASK = TextClassification(("negative", "positive"))
SAME, NARROW, FEWER_HEADS = Shape(2, 32, 4, 32), Shape(2, 16, 4, 32), Shape(2, 24, 3, 32)


@pytest.fixture(scope="module")
def teacher(bert: Path) -> Network:
    torch.manual_seed(0)
    network = load.load(str(bert), TASK, Reading(32))[0]
    with torch.no_grad():
        network.model.classifier.weight.mul_(300)
        for layer in network.model.bert.encoder.layer:  # relations and attention that differ from uniform
            for part in (layer.attention.self.query, layer.attention.self.key, layer.attention.self.value):
                part.weight.mul_(15)
    return network


def recipe(**changes: Any) -> StudentRecipe:
    return StudentRecipe.model_validate({"epochs": 3, "learning_rate": 3e-3, "patience": None, "hidden": 0, **changes})


def student_of(teacher: Network, shape: Shape) -> Network:
    words = vocabulary.trim(teacher.tokenizer, [teacher.tokenize(TEXTS)])
    return initialise.create(teacher, shape, tokenizer=words.tokenizer, kept=words.kept, seed=0)


def plan_of(teacher: Network, shape: Shape, settings: StudentRecipe) -> matching.Plan:
    return matching.plan(settings, shape, build.shape_of(teacher.model.config))


def told(teacher: Network, plan: matching.Plan, folder: Path) -> Signals:
    return signals.record(teacher, [ROWS], plan.recording(2, 32), folder=folder / "signals", progress=Silent())


def taught(
    teacher: Network, shape: Shape, folder: Path, settings: StudentRecipe
) -> tuple[Network, list[dict[str, float]]]:
    student, plan = student_of(teacher, shape), plan_of(teacher, shape, settings)
    recorded = told(teacher, plan, folder)
    transfer = distil.transfer_set(student, [ROWS], recorded)
    state = distil.distil(
        student, transfer, recorded, ROWS, settings, seed=0, folder=folder / "t", progress=Silent(), plan=plan
    )
    return student, state.history


def objective(teacher: Network, shape: Shape, folder: Path, settings: StudentRecipe) -> float:
    """What the loop would be told to lower, for all rows at once."""
    student, plan = student_of(teacher, shape), plan_of(teacher, shape, settings)
    recorded = told(teacher, plan, folder)
    transfer = distil.transfer_set(student, [ROWS], recorded)
    learner = distil.Learner(student.model, plan, width=shape.width, teacher_width=32)
    with torch.inference_mode():
        return float(distil._loss(student, transfer, recorded, settings, plan)(learner, np.arange(len(TEXTS)), 0.0))


# --- what is asked for is what is computed ---------------------------------------------------------------------------


def heard(network: Network, channels: Any) -> Any:
    with torch.inference_mode():
        return hear(network.model, network.collate(network.tokenize(TEXTS), np.arange(len(TEXTS))), channels=channels)[
            2
        ]


TERMS: list[tuple[dict[str, Any], Any, Any]] = [
    ({"hidden": 2.0, "hidden_of": "token"}, [(HIDDEN, 1), (HIDDEN, 2)], [(HIDDEN, 2), (HIDDEN, 4)]),
    (
        {"hidden": 2.0, "hidden_of": "token", "hidden_loss": "mse", "hidden_embeddings": True, "layer_map": "last"},
        [(HIDDEN, 0), (HIDDEN, 1), (HIDDEN, 2)],
        [(HIDDEN, 0), (HIDDEN, 3), (HIDDEN, 4)],
    ),
]


@pytest.mark.parametrize(("changes", "ours", "theirs"), TERMS)
def test_hidden_states_of_tokens(
    teacher: Network, tmp_path: Path, changes: dict[str, Any], ours: Any, theirs: Any
) -> None:
    student = student_of(teacher, SAME)
    mine, its = heard(student, ours), heard(teacher, theirs)
    compute = HIDDEN_LOSSES[recipe(**changes).hidden_loss].compute
    expected = 2 * averaged(compute(mine.of(ours), its.of(theirs).half().float()), its.mask).sum()
    found = objective(teacher, SAME, tmp_path, quiet(changes))
    assert found == pytest.approx(float(expected), rel=5e-3)


def quiet(changes: dict[str, Any]) -> StudentRecipe:
    """Nothing but a term: the head weighs nothing."""
    return recipe(**changes).model_copy(update={"prediction": 0.0})


@pytest.mark.parametrize("name", ATTENTION_LOSSES)
def test_attention_of_every_matched_layer(teacher: Network, tmp_path: Path, name: str) -> None:
    student, compute = student_of(teacher, NARROW), ATTENTION_LOSSES[name]
    layers = []
    for ours, theirs in ((1, 2), (2, 4)):
        mine, its = (
            heard(network, [("query", at), ("key", at)]) for network, at in ((student, ours), (teacher, theirs))
        )
        vectors = [
            (states.padded(("query", at)), states.padded(("key", at))) for states, at in ((mine, ours), (its, theirs))
        ]
        layers.append(compute(vectors[0], vectors[1], its.mask, 4))
    expected = 3 * torch.stack(layers).mean(0).sum()
    found = objective(teacher, NARROW, tmp_path, quiet({"attention": 3.0, "attention_loss": name}))
    assert found == pytest.approx(float(expected), rel=5e-3)


def test_queries_and_keys_make_the_attention_of_the_model_itself(teacher: Network) -> None:
    """The scores that are compared are those that the model attends by."""
    with torch.inference_mode():
        batch = teacher.collate(teacher.tokenize(TEXTS[:5]), np.arange(5))
        states = hear(teacher.model, batch, channels=[("query", 3), ("key", 3), ("value", 3), (HIDDEN, 2)])[2]
        query, key, value = (
            states.padded((name, 3)).unflatten(-1, (4, 8)).transpose(1, 2) for name in ("query", "key", "value")
        )
        scores = (query @ key.mT / 8**0.5).masked_fill(~states.mask[:, None, None], -1e9)
        context = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        seen: list[torch.Tensor] = []
        layer = teacher.model.bert.encoder.layer[2].attention.output.dense
        handle = layer.register_forward_hook(lambda module, given, made: seen.append(given[0]))
        teacher.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        handle.remove()
    torch.testing.assert_close(context[states.mask], seen[0][states.mask], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("shape", "parts"), [(SAME, 4), (NARROW, 4), (FEWER_HEADS, 4), (FEWER_HEADS, 8)])
def test_relations_of_the_last_layer_whatever_the_width_and_heads(
    teacher: Network, tmp_path: Path, shape: Shape, parts: int
) -> None:
    student = student_of(teacher, shape)
    kinds = ("query", "key", "value")
    mine, its = heard(student, [(kind, 2) for kind in kinds]), heard(teacher, [(kind, 3) for kind in kinds])
    expected = relations.loss(
        [mine.padded((kind, 2)) for kind in kinds], [its.padded((kind, 3)) for kind in kinds], its.mask, parts
    ).sum()
    found = objective(teacher, shape, tmp_path, quiet({"relations": 1.0, "relation_layer": 3, "relation_heads": parts}))
    assert found == pytest.approx(float(expected), rel=5e-3)


def test_terms_add_up_by_their_weights(teacher: Network, tmp_path: Path) -> None:
    given = {"hidden_of": "token", "relations": 0.0, "attention": 0.0}
    each = [
        objective(teacher, SAME, tmp_path / str(number), quiet({**given, term: 1.0}))
        for number, term in enumerate(("hidden", "attention", "relations"))
    ]
    head = objective(teacher, SAME, tmp_path / "head", recipe())
    whole = objective(
        teacher,
        SAME,
        tmp_path / "whole",
        recipe(**{**given, "hidden": 2.0, "attention": 3.0, "relations": 4.0}, prediction=0.5),
    )
    assert whole == pytest.approx(0.5 * head + 2 * each[0] + 3 * each[1] + 4 * each[2], rel=1e-3)


def test_the_teacher_itself_has_nothing_to_follow(teacher: Network, tmp_path: Path) -> None:
    whole = Shape(4, 32, 4, 64)
    for number, changes in enumerate(
        [
            {"hidden": 1, "hidden_of": "token", "hidden_loss": "mse", "hidden_embeddings": True},
            {"attention": 1},
            {"relations": 1},
        ]
    ):
        assert objective(teacher, whole, tmp_path / str(number), quiet(changes)) < 1e-3


# --- training ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": 1, "hidden_of": "token", "hidden_loss": "mse", "hidden_embeddings": True},
        {"hidden": 1, "hidden_of": "token", "hidden_loss": "patient"},
        {"hidden": 1, "hidden_of": "token", "layer_map": "learned"},
        {"hidden": 1, "layer_map": "learned", "hidden_embeddings": True},
        {"attention": 1},
        {"attention": 1, "attention_loss": "maps"},
        {"relations": 1},
        {"relations": 1, "relation_heads": 8},
    ],
)
def test_a_narrow_student_comes_nearer_to_its_teachers_layers(
    teacher: Network, tmp_path: Path, changes: dict[str, Any]
) -> None:
    given = recipe(**changes, learning_rate=1e-2, stages=[{"epochs": 12, "prediction": 0}, {"epochs": 1}])
    _, history = taught(teacher, NARROW, tmp_path, given)
    first = [epoch["loss"] for epoch in history if epoch["stage"] == 1]
    assert len(first) == 12
    assert first[-1] < 0.97 * first[0]
    assert all("score" not in epoch for epoch in history[:12])
    assert "score" in history[-1]


def test_a_history_tells_its_stages(teacher: Network, tmp_path: Path) -> None:
    given = recipe(attention=1, stages=[{"epochs": 2, "prediction": 0}, {"epochs": 3, "attention": 0}])
    _, history = taught(teacher, SAME, tmp_path, given)
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3, 4, 5]
    assert [epoch["stage"] for epoch in history] == [1, 1, 2, 2, 2]


def test_scores_of_a_mixture_move_and_are_not_the_students(teacher: Network, tmp_path: Path, monkeypatch: Any) -> None:
    seen: list[Any] = []
    train = distil.train

    def spy(learner: Any, *rest: Any, **more: Any) -> checkpoint.State:
        seen.append((learner, learner.mixture.scores.detach().clone()))
        return train(learner, *rest, **more)

    monkeypatch.setattr(distil, "train", spy)
    student, _ = taught(teacher, NARROW, tmp_path, recipe(hidden=1, layer_map="learned"))
    (learner, before) = seen[0]
    assert (learner.mixture.scores.detach() - before).abs().max() > 0.05
    assert not any("mixture" in name for name, _ in student.model.named_parameters())


def test_r_drop_leaves_a_head_alone_that_weighs_nothing(teacher: Network, tmp_path: Path) -> None:
    """Otherwise it would learn there to say the same of every text."""
    given = recipe(attention=1, r_drop=1, dropout=0.2, stages=[{"epochs": 1, "prediction": 0}, {"epochs": 1}])
    plan = plan_of(teacher, NARROW, given)
    recorded = told(teacher, plan, tmp_path)
    for stage, learns in zip(stages.of(given), (False, True), strict=True):
        student = student_of(teacher, NARROW)
        transfer = distil.transfer_set(student, [ROWS], recorded)
        learner = distil.Learner(student.model, plan, width=16, teacher_width=32)
        set_dropout(learner.train(), 0.2)
        torch.autograd.backward(distil._loss(student, transfer, recorded, stage, plan)(learner, np.arange(8), 0.0))
        assert (student.model.classifier.weight.grad is not None) == learns
        assert student.model.bert.encoder.layer[0].attention.self.query.weight.grad is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": 1, "hidden_of": "token", "hidden_loss": "mse"},
        {"hidden": 1, "hidden_loss": "relational"},
        {"attention": 1},
        {"relations": 1},
    ],
)
def test_in_half_precision_vectors_are_compared_in_single(
    teacher: Network, tmp_path: Path, changes: dict[str, Any]
) -> None:
    student, settings = student_of(teacher, NARROW), quiet(changes)
    plan = plan_of(teacher, NARROW, settings)
    recorded = told(teacher, plan, tmp_path)
    transfer = distil.transfer_set(student, [ROWS], recorded)
    learner = distil.Learner(student.model, plan, width=16, teacher_width=32)
    rows = np.arange(8)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        said = learner(student.collate(transfer.tokens, rows))
        loss = distil._loss(student, transfer, recorded, settings, plan)
        within = float(loss(lambda _: said, rows, 0.0))
    with torch.inference_mode():
        outside = float(loss(lambda _: said, rows, 0.0))
    assert {said.outputs.dtype, said.hidden.dtype, said.tokens.values.dtype} == {torch.float32}
    assert within == outside


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("cut_at", [1, 3, 5])
def test_killed_in_any_stage_it_ends_in_the_same_weights(
    teacher: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_at: int
) -> None:
    """Cut in the first stage, between stages and in the second: five checkpoints are written in all."""
    given = recipe(
        attention=1, relations=1, stages=[{"epochs": 3, "prediction": 0}, {"epochs": 2, "attention": 0, "relations": 0}]
    )
    whole, history = taught(teacher, NARROW, tmp_path / "whole", given)
    calls, save = iter(range(1, 1000)), checkpoint.save

    def cut(*rest: Any, **more: Any) -> None:
        save(*rest, **more)
        if next(calls) == cut_at:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", cut)
        with pytest.raises(Killed):
            taught(teacher, NARROW, tmp_path / "cut", given)
    again, resumed = taught(teacher, NARROW, tmp_path / "cut", given)
    assert history == resumed
    pairs = zip(whole.model.state_dict().values(), again.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


# --- tokens that do not correspond -----------------------------------------------------------------------------------


def test_a_student_that_reads_other_tokens_is_refused_before_it_is_trained(teacher: Network, tmp_path: Path) -> None:
    settings = recipe(attention=1)
    recorded = told(teacher, plan_of(teacher, SAME, settings), tmp_path)
    words = vocabulary.trim(teacher.tokenizer, [teacher.tokenize(TEXTS[:5])])
    student = initialise.create(teacher, SAME, tokenizer=words.tokenizer, kept=words.kept, seed=0)
    with pytest.raises(ModelError, match="are not the same tokens to student and teacher") as caught:
        distil.transfer_set(student, [ROWS], recorded)
    assert caught.value.exit_code == 2
    # Where averages are matched, it may.
    distil.transfer_set(student, [ROWS], replace(recorded, recording=recorded.recording.only(())))


def test_a_trimmed_vocabulary_splits_the_texts_as_the_teachers(teacher: Network, tmp_path: Path) -> None:
    student = student_of(teacher, SAME)
    assert len(student.tokenizer) < len(teacher.tokenizer)
    settings = recipe(relations=1)
    transfer = distil.transfer_set(student, [ROWS], told(teacher, plan_of(teacher, SAME, settings), tmp_path))
    assert transfer.tokens.lengths.tolist() == teacher.tokenize(TEXTS).lengths.tolist()
    assert transfer.tokens.flat.tolist() != teacher.tokenize(TEXTS).flat.tolist()  # other numbers, the same words


def test_as_many_tokens_are_not_enough(teacher: Network) -> None:
    """What counts is where a text is split, not into how many pieces, nor how they are numbered."""
    words = vocabulary.trim(teacher.tokenizer, [teacher.tokenize(TEXTS)])
    other = replace(teacher, tokenizer=words.tokenizer)
    texts = ["a good film", "a film good", "good"]
    same = teacher.splits(teacher.tokenize(texts))
    assert same.tolist() == other.splits(other.tokenize(texts)).tolist()
    assert len(set(same.tolist())) == 3
