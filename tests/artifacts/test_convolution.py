"""A convolution over embeddings: local, blind to padding, nothing at first, the same in model, folder and graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, ElectraConfig, ElectraForSequenceClassification

import tiny_models
from tiny_students import TASK, TEXTS, coded, teacher_of
from tutelage.artifacts import convolution
from tutelage.artifacts.convolution import Convolution
from tutelage.artifacts.network import Network
from tutelage.compress import quantize, vocabulary
from tutelage.compress.export import export
from tutelage.compress.run import outputs
from tutelage.encoding import Reading
from tutelage.errors import ModelError, RecipeError
from tutelage.recipe import StudentRecipe
from tutelage.recipe import load as load_recipe
from tutelage.student import build, initialise
from tutelage.student.build import Shape
from tutelage.training.head import last_linear
from tutelage.training.lean import needed_positions, used_embeddings


def part(kernel: int = 3, *, width: int = 32) -> Convolution:
    """One that has learned something."""
    torch.manual_seed(0)
    made = Convolution(width, width // 4, kernel)
    nn.init.normal_(made.up)
    return made


def student(teacher: Network, kernel: int, *, learned: bool = True) -> Network:
    full = build.shape_of(teacher.model.config)
    words = vocabulary.keep(teacher.tokenizer)
    shape = Shape(1, full.width, full.heads, full.feed_forward, kernel=kernel)
    made = initialise.create(teacher, shape, tokenizer=words.tokenizer, kept=words.kept, seed=0)
    if learned and (heard := convolution.of(made.model)) is not None:
        nn.init.normal_(heard.up)
    return made


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_token_hears_its_neighbours_and_nobody_else(kernel: int) -> None:
    made, reach = part(kernel), kernel // 2
    embedded, mask = torch.randn(1, 12, 32), torch.ones(1, 12, dtype=torch.long)
    other = embedded.clone()
    other[0, 6] += torch.randn(32)
    with torch.inference_mode():
        moved = (made(other, mask) - made(embedded, mask)).abs().amax(-1)[0]
    heard = [place for place in range(12) if moved[place] > 1e-6]
    assert heard == list(range(6 - reach, 6 + reach + 1))


def test_padding_changes_nothing_and_looking_up_is_the_same() -> None:
    made, table = part(5), torch.randn(20, 32)
    ids, mask = torch.randint(0, 20, (3, 9)), torch.ones(3, 9, dtype=torch.long)
    mask[1, 4:], mask[2, 1:] = 0, 0
    with torch.inference_mode():
        padded, alone = made(table[ids], mask)[1, :4], made(table[ids[1:2, :4]], mask[1:2, :4])[0]
        assert torch.allclose(padded, alone, atol=1e-6)
        real = mask.bool()
        assert torch.allclose(made.looked_up(ids, mask, table)[real], made(table[ids], mask)[real], atol=1e-5)


def test_a_student_begins_as_it_would_without(bert: Path) -> None:
    teacher = teacher_of(bert)
    plain, heard = student(teacher, 0), student(teacher, 3, learned=False)
    tokens = plain.tokenize(TEXTS)
    np.testing.assert_allclose(heard.outputs(tokens), plain.outputs(tokens), atol=1e-6)
    assert heard.parameters > plain.parameters
    assert "convolution of 3" in heard.describe("int8")


def test_the_order_of_tokens_matters_to_what_has_learned(bert: Path) -> None:
    made = student(teacher_of(bert), 3)
    table = made.model.get_submodule("bert.embeddings.position_embeddings")
    with torch.no_grad():
        table.weight.zero_()  # one layer without it is blind to the order
        turned = ["film fine a", "a fine film"]
        assert np.ptp(made.outputs(made.tokenize(turned)), axis=0).max() > 1e-4
        heard = convolution.of(made.model)
        assert heard is not None
        nn.init.zeros_(heard.up)
        assert np.ptp(made.outputs(made.tokenize(turned)), axis=0).max() < 1e-5


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "modernbert"])
def test_a_folder_keeps_it_and_is_no_plain_model(kind: str, tmp_path: Path) -> None:
    made = student(teacher_of(getattr(tiny_models, f"write_{kind}")(tmp_path / "teacher")), 5)
    made.save(tmp_path / "student")
    again = Network.load(tmp_path / "student", TASK, Reading(48))
    tokens = made.tokenize(TEXTS)
    np.testing.assert_allclose(again.outputs(tokens), made.outputs(tokens), atol=1e-6)
    # Its layers alone would answer something else: better no answer.
    with pytest.raises(OSError, match="no file named"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "student")


@pytest.mark.parametrize("in_pieces", [False, True])
def test_the_graph_answers_like_the_model(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_pieces: bool
) -> None:
    made = student(teacher_of(bert), 3)
    made = coded(made, monkeypatch) if in_pieces else made
    assert export(made, tmp_path / "fp32.onnx", texts=TEXTS).difference < 1e-5
    quantize.int8(tmp_path / "fp32.onnx", tmp_path / "int8.onnx")
    tokens = made.tokenize(TEXTS)
    expected = made.outputs(tokens)
    assert np.abs(outputs(tmp_path / "int8.onnx", made, tokens) - expected).max() < 0.1 * np.ptp(expected)


def test_shortcuts_of_training_change_nothing(bert: Path) -> None:
    made = student(teacher_of(bert), 3)
    tokens = made.tokenize(TEXTS)
    expected = made.outputs(tokens)
    with used_embeddings(made, [tokens]) as (used,), needed_positions(made, used, dropout=0.0) as applied:
        assert applied
        np.testing.assert_allclose(made.outputs(used), expected, atol=1e-5)


def test_a_student_of_a_student_takes_its_convolution(bert: Path) -> None:
    first = student(teacher_of(bert), 3)
    theirs, ours = convolution.of(first.model), convolution.of(student(first, 3, learned=False).model)
    assert theirs is not None
    assert ours is not None
    assert torch.equal(ours.up, theirs.up)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "modernbert"])
def test_encoders_have_one_in_a_single_layer_by_default(kind: str, tmp_path: Path) -> None:
    folder = getattr(tiny_models, f"write_{kind}")(tmp_path)
    teacher = teacher_of(folder)
    shape = build.choose(StudentRecipe(size=None, layers=1), teacher.model.config)
    assert shape.kernel == 5
    made = student(teacher, 3)
    tokens = made.tokenize(TEXTS)
    alone = np.concatenate([made.outputs(made.tokenize([text])) for text in TEXTS[:5]])
    np.testing.assert_allclose(made.outputs(tokens)[:5], alone, atol=1e-4)
    assert build.choose(StudentRecipe(size=None, layers=2), teacher.model.config).kernel == 0
    asked = StudentRecipe(size=None, layers=1, convolution="none")
    assert build.choose(asked, teacher.model.config) == replace(shape, kernel=0)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_what_looks_for_its_padding_among_ids_is_refused(kind: str, tmp_path: Path) -> None:
    teacher = teacher_of(getattr(tiny_models, f"write_{kind}")(tmp_path))
    settings = StudentRecipe(size=None, layers=1)
    assert build.choose(settings, teacher.model.config).kernel == 0
    asked = build.choose(settings.model_copy(update={"convolution": 3}), teacher.model.config)
    with pytest.raises(ModelError, match="in place of tokens"):
        build.check_convolution(asked, teacher.model)


@pytest.mark.parametrize("kernel", [3, 15])
def test_texts_may_be_shorter_than_the_kernel(bert: Path, tmp_path: Path, kernel: int) -> None:
    made = student(teacher_of(bert), kernel)
    export(made, tmp_path / "fp32.onnx", texts=TEXTS)
    for text in ("", "a", "a film", "a fine film", "a fine film, and more"):
        tokens = made.tokenize([text])
        np.testing.assert_allclose(outputs(tmp_path / "fp32.onnx", made, tokens), made.outputs(tokens), atol=1e-5)
    alone, mask = torch.randn(1, 1, 32), torch.ones(1, 1, dtype=torch.long)
    made = part(kernel)
    assert made.added(made(alone, mask)).shape == alone.shape


def test_embeddings_narrower_than_the_layers_are_convolved(tmp_path: Path) -> None:
    tokenizer = tiny_models.word_piece()
    config = ElectraConfig(
        vocab_size=len(tokenizer), embedding_size=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=4
    )
    ElectraForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    made = student(teacher_of(tmp_path), 5)
    assert made.outputs(made.tokenize(TEXTS)).shape == (len(TEXTS), 2)


def test_a_head_as_wide_as_the_layers_is_found(bert: Path) -> None:
    made = student(teacher_of(bert), 5)
    width = made.model.config.hidden_size
    made.model.classifier = nn.Linear(width, width)
    assert last_linear(made.model, width) is made.model.classifier


def test_a_students_folder_does_not_teach_without_it(bert: Path, tmp_path: Path) -> None:
    student(teacher_of(bert), 5).save(tmp_path / "student")
    with pytest.raises(ModelError, match="with a convolution"):
        teacher_of(tmp_path / "student")


def test_a_kernel_has_a_middle() -> None:
    given = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "run"}
    with pytest.raises(RecipeError, match="3 or 5, not 4"):
        load_recipe({**given, "student": {"layers": 1, "convolution": 4}})
