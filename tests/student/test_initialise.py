from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_models
from tutelage.artifacts.network import Network
from tutelage.compress import vocabulary
from tutelage.encoding import Reading
from tutelage.errors import ModelError
from tutelage.recipe import StudentRecipe
from tutelage.student import build, initialise, matching
from tutelage.student.build import Shape
from tutelage.tasks import TextClassification
from tutelage.teacher import load
from tutelage.teacher.strategies.anatomy import study

TASK = TextClassification(("negative", "positive"))
TEXTS = [row["text"] for row in tiny_models.reviews()][:50]


@pytest.fixture(params=["bert", "gpt2", "t5", "bart", "modernbert"])
def teacher(request: pytest.FixtureRequest, tmp_path: Path) -> Network:
    folder = getattr(tiny_models, f"write_{request.param}")(tmp_path)
    torch.manual_seed(0)
    return load.load(str(folder), TASK, Reading(48))[0]


def create(teacher: Network, shape: Shape) -> Network:
    words = vocabulary.keep(teacher.tokenizer)
    return initialise.create(teacher, shape, tokenizer=words.tokenizer, kept=words.kept, seed=0)


def test_a_student_of_the_teachers_shape_is_the_teacher(teacher: Network) -> None:
    student = create(teacher, build.shape_of(teacher.model.config))
    expected = teacher.outputs(teacher.tokenize(TEXTS))
    assert student.outputs(student.tokenize(TEXTS)) == pytest.approx(expected, abs=1e-6)


def test_positions_that_are_never_read_are_not_taken(bert: Path) -> None:
    torch.manual_seed(0)
    teacher = load.load(str(bert), TASK, Reading(48))[0]
    full = build.shape_of(teacher.model.config)
    short = replace(teacher, reading=Reading(16))
    for shape in (full, Shape(2, 16, 4, 32)):
        student = create(short, shape)
        assert student.model.config.max_position_embeddings == 16 < teacher.model.config.max_position_embeddings
        assert len(student.model.get_submodule("bert.embeddings.position_embeddings").weight) == 16
    tokens = short.tokenize(["a fine film, " * 20])
    np.testing.assert_allclose(create(short, full).outputs(tokens), short.outputs(tokens), atol=1e-5)


def test_fewer_layers_are_taken_from_the_teacher(teacher: Network) -> None:
    full = build.shape_of(teacher.model.config)
    student = create(teacher, Shape(2, full.width, full.heads, full.feed_forward))
    assert student.parameters < teacher.parameters
    # Of positions the first ones: no text is longer.
    taken = [value.numpy().tobytes() for value in teacher.model.state_dict().values()]
    begun = (value.numpy().tobytes() for value in student.model.state_dict().values())
    assert all(any(whole.startswith(start) for whole in taken) for start in begun)


@pytest.mark.parametrize("kind", ["t5", "bart"])
@pytest.mark.parametrize("deep", [2, 6])
def test_of_uneven_stacks_a_student_of_the_teachers_shape_is_the_teacher(tmp_path: Path, kind: str, deep: int) -> None:
    write = getattr(tiny_models, f"write_{kind}")
    teacher = load.load(str(write(tmp_path, layers=4, decoder=deep)), TASK, Reading(48))[0]
    student = create(teacher, build.shape_of(teacher.model.config))
    expected = teacher.outputs(teacher.tokenize(TEXTS))
    assert student.outputs(student.tokenize(TEXTS)) == pytest.approx(expected, abs=1e-6)
    # Each layer is one, for strategies too.
    anatomy = study(teacher.model)
    assert anatomy is not None
    assert len(anatomy.layers) == 4 + deep


@pytest.mark.parametrize("kind", ["t5", "bart"])
@pytest.mark.parametrize(("layers", "deep", "expected"), [(1, 2, [1]), (2, 2, [0, 1]), (3, 2, [0, 1]), (2, 6, [0, 5])])
def test_a_decoder_that_is_not_as_deep_as_the_encoder_keeps_its_own_layers(
    tmp_path: Path, kind: str, layers: int, deep: int, expected: list[int]
) -> None:
    write = getattr(tiny_models, f"write_{kind}")
    teacher = load.load(str(write(tmp_path, layers=4, decoder=deep)), TASK, Reading(48))[0]
    student = create(teacher, Shape(layers, 32, 4, 32))
    assert len(student.outputs(student.tokenize(TEXTS[:2]))) == 2
    theirs, ours = (
        next(module for name, module in one.model.named_modules() if name.endswith(f"decoder.{stack}"))
        for one in (teacher, student)
        for stack in [{"t5": "block", "bart": "layers"}[kind]]
    )
    attention = {"t5": "layer.0.SelfAttention.q.weight", "bart": "self_attn.q_proj.weight"}[kind]
    assert len(ours) == len(expected)
    for mine, origin in zip(ours, expected, strict=True):
        assert torch.equal(mine.get_parameter(attention), theirs[origin].get_parameter(attention))
        # Both stacks have thinner blocks.
        assert {
            value.shape[0] for name, value in mine.named_parameters() if name.endswith(("fc1.weight", "wi.weight"))
        } == {32}


def test_the_strongest_neurons_with_a_gate_are_kept(tmp_path: Path) -> None:
    teacher = load.load(str(tiny_models.write_modernbert(tmp_path)), TASK, Reading(48))[0]
    full = build.shape_of(teacher.model.config)
    dead = torch.randperm(full.feed_forward, generator=torch.Generator().manual_seed(0))[: full.feed_forward // 2]
    with torch.no_grad():
        for layer in teacher.model.model.layers:
            layer.mlp.Wo.weight[:, dead] = 0
    student = create(teacher, Shape(full.layers, full.width, full.heads, full.feed_forward // 2))
    expected = teacher.outputs(teacher.tokenize(TEXTS))
    assert student.outputs(student.tokenize(TEXTS)) == pytest.approx(expected, abs=1e-5)


def test_layers_keep_how_far_they_see(tmp_path: Path) -> None:
    teacher = load.load(str(tiny_models.write_modernbert(tmp_path)), TASK, Reading(48))[0]
    full = build.shape_of(teacher.model.config)
    assert teacher.model.config.layer_types == ["full_attention", "sliding_attention", "sliding_attention"]
    student = create(teacher, Shape(2, full.width, full.heads, full.feed_forward))
    assert student.model.config.layer_types == ["full_attention", "sliding_attention"]


def test_the_strongest_neurons_are_kept(tmp_path: Path) -> None:
    """Neurons that add nothing go first: without them the outputs are the same."""
    teacher = load.load(str(tiny_models.write_bert(tmp_path)), TASK, Reading(48))[0]
    full = build.shape_of(teacher.model.config)
    dead = torch.randperm(full.feed_forward, generator=torch.Generator().manual_seed(0))[: full.feed_forward // 2]
    with torch.no_grad():
        for layer in teacher.model.bert.encoder.layer:
            layer.output.dense.weight[:, dead] = 0
    student = create(teacher, Shape(full.layers, full.width, full.heads, full.feed_forward // 2))
    expected = teacher.outputs(teacher.tokenize(TEXTS))
    assert student.outputs(student.tokenize(TEXTS)) == pytest.approx(expected, abs=1e-5)


def test_encoder_and_decoder_keep_their_own_neurons(tmp_path: Path) -> None:
    teacher = load.load(str(tiny_models.write_t5(tmp_path)), TASK, Reading(48))[0]
    full = build.shape_of(teacher.model.config)
    halves = torch.randperm(full.feed_forward, generator=torch.Generator().manual_seed(0)).chunk(2)
    with torch.no_grad():
        for stack, dead in zip(("encoder", "decoder"), halves, strict=True):
            for block in teacher.model.get_submodule(f"transformer.{stack}").block:
                block.layer[-1].DenseReluDense.wo.weight[:, dead] = 0
    student = create(teacher, Shape(full.layers, full.width, full.heads, full.feed_forward // 2))
    expected = teacher.outputs(teacher.tokenize(TEXTS))
    assert student.outputs(student.tokenize(TEXTS)) == pytest.approx(expected, abs=1e-5)


def test_neurons_are_told_from_the_layers_own_numbers_where_there_are_as_many(tmp_path: Path) -> None:
    """A student of this package has a feed-forward block as wide as its layer, and may become a teacher."""
    wide = load.load(str(tiny_models.write_bert(tmp_path)), TASK, Reading(48))[0]
    square = create(wide, Shape(4, 32, 4, 32))
    dead = torch.arange(0, 32, 2)
    with torch.no_grad():
        for layer in square.model.bert.encoder.layer:
            layer.output.dense.weight[:, dead] = 0
    student = create(square, Shape(4, 32, 4, 16))
    expected = square.outputs(square.tokenize(TEXTS))
    assert student.outputs(student.tokenize(TEXTS)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["modernbert", "llama"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_padding_token_at_the_end_of_a_large_vocabulary_is_named_anew(kind: str, layers: int, tmp_path: Path) -> None:
    """Tables of these go by the padding's number, of which a trimmed vocabulary has not as many."""
    folder = getattr(tiny_models, f"write_{kind}")(tmp_path)
    tokenizer = tiny_models.load_tokenizer(folder)
    last = len(tokenizer) - 1
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(last)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": last}))
    torch.manual_seed(0)
    teacher = load.load(str(folder), TASK, Reading(48))[0]
    words = vocabulary.trim(teacher.tokenizer, [teacher.tokenize(TEXTS[:10])])
    assert len(words.kept) < last
    full = build.shape_of(teacher.model.config)
    shape = Shape(layers, full.width, full.heads, full.feed_forward // 2)
    student = initialise.create(teacher, shape, tokenizer=words.tokenizer, kept=words.kept, seed=0)
    assert student.model.config.pad_token_id == student.pad < len(words.kept)
    together = student.outputs(student.tokenize(TEXTS))
    alone = np.concatenate([student.outputs(student.tokenize([text])) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_layers_that_share_their_weights_are_cut_too(layers: int, tmp_path: Path) -> None:
    teacher = load.load(str(tiny_models.write_albert(tmp_path)), TASK, Reading(48))[0]
    full = build.shape_of(teacher.model.config)
    student = create(teacher, Shape(layers, full.width, full.heads, full.feed_forward // 2))
    assert np.isfinite(student.outputs(student.tokenize(TEXTS))).all()


def test_a_narrow_student_of_a_model_without_a_longest_text_reads_as_much(tmp_path: Path) -> None:
    teacher = load.load(str(tiny_models.write_t5(tmp_path)), TASK, Reading(700))[0]
    student = create(teacher, Shape(1, 16, 4, 32))
    assert np.isfinite(student.outputs(student.tokenize(["a fine film " * 400]))).all()


def test_a_narrow_student_has_projected_embeddings(teacher: Network) -> None:
    student = create(teacher, Shape(2, 16, 4, 32))
    assert student.model.config.model_type == "bert"
    theirs, ours = (n.model.get_input_embeddings().weight.detach().float() for n in (teacher, student))
    far, near = (torch.pdist(weights[:200]) for weights in (theirs, ours))
    assert torch.corrcoef(torch.stack([far, near]))[0, 1] > 0.5
    assert student.outputs(student.tokenize(TEXTS)).shape == (50, 2)


@pytest.mark.parametrize(
    ("teacher_layers", "student_layers", "expected"),
    [(6, 2, [0, 5]), (6, 3, [0, 2, 5]), (12, 4, [0, 4, 7, 11]), (6, 1, [5]), (4, 4, [0, 1, 2, 3])],
)
def test_the_layer_map_is_uniform(teacher_layers: int, student_layers: int, expected: list[int]) -> None:
    assert initialise.uniform(teacher_layers, student_layers) == expected


def test_matched_states_end_with_the_last() -> None:
    assert matching.matched_layers(6, 2) == [3, 6]
    assert matching.matched_layers(12, 4) == [3, 6, 9, 12]
    assert matching.matched_layers(5, 5) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 64}, "larger than the teacher's 32"),
        ({"layers": 9}, "has 9 layers, the teacher 4"),
        ({"heads": 3}, "cannot be divided into 3 heads"),
        ({"feed_forward": 1000}, "feed-forward 1000 cannot be taken"),
    ],
)
def test_an_impossible_shape_is_an_error(settings: dict[str, int], message: str, bert: Path) -> None:
    teacher = load.load(str(bert), TASK, Reading(48))[0]
    with pytest.raises(ModelError, match=message):
        build.choose(StudentRecipe.model_validate(settings), teacher.model.config)


def test_sizes_are_ordered(bert: Path) -> None:
    config = load.load(str(bert), TASK, Reading(48))[0].model.config
    tiny, small, medium = (
        build.choose(StudentRecipe.model_validate({"size": size}), config) for size in ("tiny", "small", "medium")
    )
    assert tiny.width < small.width == medium.width
    assert small.feed_forward < medium.feed_forward


def test_the_same_seed_gives_the_same_student(bert: Path) -> None:
    teacher = load.load(str(bert), TASK, Reading(48))[0]
    one, other = (create(teacher, Shape(2, 16, 4, 32)).model.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
