"""Static embeddings: one vector of a text, blind to padding, hearing phrases, the same in model, folder and graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tiny_models
from tiny_students import TASK, TEXTS, coded, teacher_of
from tutelage import assistant
from tutelage.artifacts import convolution
from tutelage.artifacts.network import Network
from tutelage.compress import quantize, vocabulary
from tutelage.compress.export import export
from tutelage.compress.run import outputs
from tutelage.encoding import Reading
from tutelage.errors import ModelError, RecipeError
from tutelage.recipe import StudentRecipe
from tutelage.recipe import load as load_recipe
from tutelage.student import build, initialise, ladder, matching

STATIC = StudentRecipe(size="static")


def student(teacher: Network, *, learned: bool = True) -> Network:
    words = vocabulary.keep(teacher.tokenizer)
    shape = build.choose(STATIC, teacher.model.config)
    made = initialise.create(teacher, shape, tokenizer=words.tokenizer, kept=words.kept, seed=0)
    heard = convolution.of(made.model)
    assert heard is not None
    if learned:
        nn.init.normal_(heard.up)
    return made


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "modernbert"])
def test_padding_changes_nothing(kind: str, tmp_path: Path) -> None:
    made = student(teacher_of(getattr(tiny_models, f"write_{kind}")(tmp_path)))
    together = made.outputs(made.tokenize(TEXTS))
    alone = np.concatenate([made.outputs(made.tokenize([text])) for text in TEXTS[:5]])
    np.testing.assert_allclose(together[:5], alone, atol=1e-4)
    assert made.describe("int8").split(", ", 1)[1].startswith("static, convolution of 5, 1 layer x 32")


def test_layers_read_one_vector_whatever_the_length(bert: Path) -> None:
    made = student(teacher_of(bert), learned=False)
    read: list[torch.Tensor] = []
    made.model.bert.register_forward_pre_hook(
        lambda _, args, given: read.append(given["inputs_embeds"]), with_kwargs=True
    )
    tokens = made.tokenize(TEXTS[:3])
    made.outputs(tokens)
    table = made.model.get_input_embeddings().weight
    batch = made.collate(tokens, np.array([0]))
    assert {vectors.shape[1] for vectors in read} == {1}
    means = torch.cat([vectors[:, 0] for vectors in read])
    # Before it has learned, the mean of the embeddings and nothing else.
    expected = table[batch.input_ids[0]].mean(0)
    assert (means - expected).abs().amax(1).min() < 1e-6


def test_heads_weigh_tokens_and_begin_unlike(bert: Path) -> None:
    heard = convolution.of(student(teacher_of(bert)).model)
    assert heard is not None
    words, mask = torch.randn(2, 5, heard.bias.shape[0]), torch.ones(2, 5, dtype=torch.long)
    mask[1, 3:] = 0
    with torch.no_grad():
        even = heard.of_text(words, mask).view(2, heard.heads, -1)
        assert (even - words[1, :3].mean(0)).abs()[1].max() < 0.1  # nearly the plain mean at first
        heard.asked[0] = 50 * words[1, 1]
        chosen = heard.of_text(words, mask).view(2, heard.heads, -1)
    assert torch.allclose(chosen[1, 0], words[1, 1], atol=1e-3)
    assert torch.equal(chosen[1, 1:], even[1, 1:])
    assert len(torch.unique(heard.asked, dim=0)) == heard.heads == 4


def test_the_order_of_words_is_heard_through_phrases_alone(bert: Path) -> None:
    turned = ["film fine a", "a fine film"]
    deaf, made = (student(teacher_of(bert), learned=learned) for learned in (False, True))
    assert np.ptp(deaf.outputs(deaf.tokenize(turned)), axis=0).max() < 1e-5
    assert np.ptp(made.outputs(made.tokenize(turned)), axis=0).max() > 1e-4


def test_a_folder_keeps_it(bert: Path, tmp_path: Path) -> None:
    made = student(teacher_of(bert))
    made.save(tmp_path / "student")
    again = Network.load(tmp_path / "student", TASK, Reading(48))
    tokens = made.tokenize(TEXTS)
    np.testing.assert_allclose(again.outputs(tokens), made.outputs(tokens), atol=1e-6)


@pytest.mark.parametrize("in_pieces", [False, True])
def test_the_graph_answers_like_the_model(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_pieces: bool
) -> None:
    made = student(teacher_of(bert))
    made = coded(made, monkeypatch) if in_pieces else made
    assert export(made, tmp_path / "fp32.onnx", texts=TEXTS).difference < 1e-5
    quantize.int8(tmp_path / "fp32.onnx", tmp_path / "int8.onnx")
    for texts in (TEXTS, ["", "a", "a fine film"]):
        tokens = made.tokenize(texts)
        expected = made.outputs(tokens)
        np.testing.assert_allclose(outputs(tmp_path / "fp32.onnx", made, tokens), expected, atol=1e-5)
    expected = made.outputs(made.tokenize(TEXTS))
    rounded = outputs(tmp_path / "int8.onnx", made, made.tokenize(TEXTS))
    assert np.abs(rounded - expected).max() < 0.1 * np.ptp(expected)


def test_what_it_cannot_match_is_refused_or_left_out(bert: Path) -> None:
    teacher = teacher_of(bert)
    shape = build.choose(STATIC, teacher.model.config)
    for asked in ({"attention": 1.0}, {"relations": 1.0}, {"hidden_of": "token", "hidden_last": True}):
        with pytest.raises(ModelError, match="one vector"):
            matching.check(STATIC.model_copy(update=asked), shape, teacher.model)
    matching.check(STATIC.model_copy(update={"hidden_last": True}), shape, teacher.model)
    given = StudentRecipe.model_validate({"keep": 0.9, "relations": 1.0, "stages": [{"epochs": 1, "relations": 2.0}]})
    rung = next(rung for rung in ladder.rungs(given, teacher.model.config) if rung.name == "static")
    assert not matching.plan(ladder.settings_for(rung, given), shape, build.shape_of(teacher.model.config))


def test_a_search_has_a_rung_of_it_and_its_neighbours_are_others(bert: Path) -> None:
    config = teacher_of(bert).model.config
    rungs = {rung.name: rung.shape for rung in ladder.rungs(StudentRecipe(keep=0.9), config)}
    assert rungs["static"] == replace(rungs["one"], static=True)
    smaller, larger = (rung.shape for rung in ladder.beside(rungs["static"], StudentRecipe(), config))
    assert larger == rungs["one"]
    assert (smaller.static, smaller.kernel, smaller.feed_forward) == (True, 5, rungs["static"].feed_forward // 2)
    without = {rung.name: rung.shape for rung in ladder.rungs(StudentRecipe(keep=0.9, convolution="none"), config)}
    assert "static" not in without
    assert without["one"].kernel == 0


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_what_looks_for_its_padding_among_ids_has_none(kind: str, tmp_path: Path) -> None:
    teacher = teacher_of(getattr(tiny_models, f"write_{kind}")(tmp_path))
    assert "static" not in [rung.name for rung in ladder.rungs(StudentRecipe(keep=0.9), teacher.model.config)]
    with pytest.raises(ModelError, match="in place of tokens"):
        build.check_convolution(build.choose(STATIC, teacher.model.config), teacher.model)


def test_without_a_convolution_it_is_refused() -> None:
    given = {"task": "text-classification", "data": {"train": "x.csv"}, "output": "run"}
    with pytest.raises(RecipeError, match="leave out `convolution: none`"):
        load_recipe({**given, "student": {"size": "static", "convolution": "none"}})


def test_embeddings_are_matched_without_a_convolution_alone(bert: Path) -> None:
    teacher = teacher_of(bert)
    asked = StudentRecipe(size=None, layers=1, hidden_embeddings=True)
    plain = build.choose(asked, teacher.model.config)
    assert plain.kernel == 0
    matching.check(asked, plain, teacher.model)
    for given in (asked.model_copy(update={"convolution": 3}), STATIC.model_copy(update={"hidden_embeddings": True})):
        with pytest.raises(ModelError, match="which a convolution has changed"):
            matching.check(given, build.choose(given, teacher.model.config), teacher.model)
    # In a search single layers match nothing, and keep theirs.
    rungs = ladder.rungs(StudentRecipe(keep=0.9, hidden_embeddings=True), teacher.model.config)
    assert next(rung for rung in rungs if rung.name == "one").shape.kernel == 5


def test_a_stage_with_nothing_to_learn_is_refused(bert: Path) -> None:
    teacher = teacher_of(bert)
    stages = [{"epochs": 1, "prediction": 0.0, "hidden": 1.0}, {"epochs": 1}]
    for size in ({"size": "static"}, {"layers": 1}):
        given = StudentRecipe.model_validate({**size, "stages": stages})
        shape = build.choose(given, teacher.model.config)
        with pytest.raises(ModelError, match=r"in stage 1 .* nothing would be learned"):
            matching.check(given, shape, teacher.model)
        matching.check(given.model_copy(update={"hidden_last": True}), shape, teacher.model)


def test_without_a_convolution_there_is_no_such_rung(bert: Path) -> None:
    teacher = teacher_of(bert)
    given = StudentRecipe(keep=0.9, rungs=["static"], convolution="none")
    with pytest.raises(ModelError, match="has no such rung"):
        ladder.check(given, teacher.model)


def test_one_that_reads_tokens_may_stand_above_it(bert: Path) -> None:
    teacher = teacher_of(bert)
    given = StudentRecipe.model_validate({"size": "static", "assistant": {"size": None, "layers": 1}})
    above = assistant.check(given, teacher.model)
    assert above is not None
    small = build.choose(given, teacher.model.config)
    assert above.inner < small.inner  # a thinner layer, but one that reads every token
    assert "static, convolution of 5, 1 layer x 32" in small.describe()
    assert small.identity()["static"] == 4
    assert "static" not in above.identity()
