"""Prefix and prompt tuning: the model stays, vectors in front of a text learn, and all that follows hears them."""

from __future__ import annotations

import copy
import gc
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import tiny_models
from splits import split
from tutelage.artifacts import prefix, prompt
from tutelage.artifacts.averaging import averages
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.first_token import only_first_token
from tutelage.artifacts.in_front import in_front
from tutelage.artifacts.network import Network, hidden_states, run
from tutelage.artifacts.token_states import HIDDEN, hear
from tutelage.compress import vocabulary
from tutelage.compress.export import export
from tutelage.encoding import Reading
from tutelage.errors import ModelError, RecipeError
from tutelage.evaluate import memory
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.recipe import load as load_recipe
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.student import build, growth, initialise, ladder
from tutelage.tasks import TextClassification
from tutelage.teacher import fine_tune, load, strategies
from tutelage.teacher.strategies import STRATEGIES
from tutelage.training import supervised

TASK = TextClassification(("negative", "positive"))
ROWS = tiny_models.reviews()[:96]
TEXTS = [row["text"] for row in ROWS]
TARGETS = np.array([float(row["label"] == "positive") for row in ROWS])
CORPUS = Corpus(
    Path("nowhere"),
    TASK,
    {"train": split(TEXTS[:64], TARGETS[:64]), "validation": split(TEXTS[64:], TARGETS[64:], "validation")},
    "a corpus in memory",
    {},
)
FITTING = [("prefix", kind) for kind in ("bert", "roberta", "distilbert", "modernbert", "gpt2")]
FITTING += [("prompt", kind) for kind in ("bert", "roberta", "distilbert")]
BOTH = pytest.mark.parametrize("name", ["prefix", "prompt"])


def network(folder: Path) -> Network:
    return load.load(str(folder), TASK, Reading(32))[0]


def prepared(given: Network, name: str, *, learned: bool = True, **more: Any) -> Network:
    """With vectors in front that have learned something; they say enough for differences to be seen."""
    with strategies.applied(given, TeacherRecipe(strategy=name, **more), targets=TARGETS, seed=0):
        if learned:
            random = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for parameter in given.model.parameters():
                    if parameter.requires_grad:
                        parameter.add_(torch.randn(parameter.shape, generator=random))
    return given


@pytest.fixture
def rising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch is the best so far, so that the last weights are the ones that are kept."""
    scores = iter(range(1000))
    monkeypatch.setattr(supervised.Exam, "score", lambda *_: float(next(scores)))


@BOTH
def test_the_vectors_and_the_head_learn_and_the_model_stays(
    name: str, rising: None, bert: Path, tmp_path: Path
) -> None:
    given = network(bert)
    before = copy.deepcopy(given.model.state_dict())
    recipe = TeacherRecipe(strategy=name, epochs=4, batch_size=16, patience=None)
    history = fine_tune.fine_tune(given, CORPUS, recipe, fitted=False, seed=0, folder=tmp_path, progress=Silent())
    assert history[-1]["loss"] < history[0]["loss"]
    now = given.model.state_dict()
    moved = {part for part, value in before.items() if not torch.equal(value, now[part])}
    assert moved == {part for part in before if part.startswith(("bert.pooler", "classifier"))}
    added = set(now) - set(before)
    assert {part.rpartition(".")[2] for part in added} <= {"keys", "values", "vectors"}
    # None is computed once and kept: the layers hear what learns.
    assert not (tmp_path / "frozen").exists()


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_it_reloads_and_exports_and_is_blind_to_padding(name: str, kind: str, tmp_path: Path) -> None:
    given = network(getattr(tiny_models, f"write_{kind}")(tmp_path / "model"))
    texts = [*TEXTS[:5], "good"]
    plain = given.outputs(given.tokenize(texts))
    with strategies.applied(given, TeacherRecipe(strategy=name), targets=TARGETS, seed=0):
        assert np.abs(given.outputs(given.tokenize(texts)) - plain).max() > 0
    said = prepared(network(tmp_path / "model"), name)
    tokens = said.tokenize(texts)
    together = said.outputs(tokens)
    alone = np.concatenate([said.outputs(said.tokenize([text])) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5 * np.abs(together).max())
    said.save(tmp_path / "teacher")
    again = Network.load(tmp_path / "teacher", TASK, Reading(32))
    np.testing.assert_array_equal(again.outputs(tokens), together)
    assert f"{STRATEGIES[name].in_front} vectors in front" in again.describe("fp32")
    assert export(again, tmp_path / "teacher.onnx", texts=texts).difference < 1e-4


@BOTH
def test_another_library_finds_no_weights_instead_of_wrong_ones(name: str, bert: Path, tmp_path: Path) -> None:
    prepared(network(bert), name).save(tmp_path / "teacher")
    with pytest.raises(OSError, match=r"model\.safetensors"):
        transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "teacher")
    with pytest.raises(ModelError, match=f"is a teacher with a {name}.*\n.*loads whole\n.*that it was made from"):
        load.load(str(tmp_path / "teacher"), TASK, Reading(32))


@BOTH
def test_copies_read_their_own_vectors(name: str, bert: Path) -> None:
    given = prepared(network(bert), name)
    other = copy.deepcopy(given.model)
    with torch.no_grad():
        for part, parameter in other.named_parameters():
            if part.endswith((".keys", ".values", ".vectors")):
                parameter.mul_(-1)
    batch = given.collate(given.tokenize(TEXTS[:4]), np.arange(4))
    mine, theirs = (run(model.eval(), batch, states=False).logits for model in (given.model, other))
    assert (mine - theirs).abs().max() > 1e-4


def test_a_prefix_is_what_attention_with_more_keys_says() -> None:
    """Against the formula, computed by hand."""
    torch.manual_seed(0)
    keys, values, query, key, value = (torch.randn(2, length, 4) for length in (3, 3, 5, 5, 5))
    module = torch.nn.Module()
    made = prefix.Prefix(2, 3, 4)
    made.load_state_dict({"keys": keys, "values": values})
    module.add_module("prefix", made)
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool)
    mask[..., 4] = False
    found, _ = prefix._attend(module, query[None], key[None], value[None], mask)
    scores = query @ torch.cat([keys, key[:, :4]], dim=1).mT / 2
    expected = scores.softmax(-1) @ torch.cat([values, value[:, :4]], dim=1)
    torch.testing.assert_close(found[0].transpose(0, 1), expected)


def test_decoders_see_the_whole_prefix_and_nothing_that_comes(tmp_path: Path) -> None:
    given = prepared(network(tiny_models.write_gpt2(tmp_path)), "prefix")
    ids = torch.arange(5, 15).unsqueeze(0)
    other = ids.clone()
    other[0, 7] = 40
    with torch.inference_mode():
        one, two = (given.model.base_model(input_ids=some).last_hidden_state[0] for some in (ids, other))
    assert torch.equal(one[:7], two[:7])
    assert not torch.allclose(one[7:], two[7:])


def test_a_prompt_leaves_as_many_states_as_tokens_at_their_positions(bert: Path) -> None:
    given = network(bert)
    batch = given.collate(given.tokenize(TEXTS[:4]), np.arange(4))
    before = hidden_states(run(given.model, batch, states=True))
    prepared(given, "prompt")
    result = run(given.model, batch, states=True)
    after = hidden_states(result)
    assert [states.shape for states in after] == [states.shape for states in before]
    # Embeddings do not hear each other: those of the tokens are what they were.
    torch.testing.assert_close(after[0], before[0])
    assert (after[1] - before[1]).abs().max() > 1e-3
    mask = batch.attention_mask.bool()
    channels = [(HIDDEN, 2), ("query", 1), ("key", 2), ("value", 2)]
    *_, tokens = hear(given.model, batch, channels=channels)
    assert tokens.values.shape == (int(mask.sum()), 4, 32)
    torch.testing.assert_close(tokens.of([(HIDDEN, 2)])[:, 0], after[2][mask])


def test_a_last_layer_with_a_prefix_is_computed_whole(bert: Path) -> None:
    """The shortened layer knows no prefix; one that averages has none."""
    with only_first_token(prepared(network(bert), "prefix").model) as applied:
        assert not applied
    mean = prepared(network(bert), "prefix", reads="mean")
    assert averages(mean.model.config)
    assert not any("layer.4" in name for name in prefix.of(mean.model))
    with only_first_token(mean.model) as applied:
        assert applied


@BOTH
def test_a_student_has_the_layers_and_no_vectors(name: str, bert: Path) -> None:
    teacher = prepared(network(bert), name)
    words = vocabulary.keep(teacher.tokenizer)
    shape = build.shape_of(teacher.model.config)
    made = initialise.create(teacher, shape, tokenizer=words.tokenizer, kept=words.kept, seed=0)
    assert not in_front(made.model.config)
    assert made.model.config._attn_implementation == "sdpa"
    assert not prefix.of(made.model)
    assert prompt.of(made.model) is None
    theirs = teacher.model.state_dict()
    layers = {part: value for part, value in made.model.state_dict().items() if ".layer." in part}
    assert layers
    assert all(torch.equal(value, theirs[part]) for part, value in layers.items())


@BOTH
def test_the_teacher_itself_is_no_rung(name: str, bert: Path) -> None:
    teacher, settings = network(bert), StudentRecipe(keep=0.9)
    assert "whole" in [rung.name for rung in ladder.rungs(settings, teacher.model.config)]
    prepared(teacher, name)
    assert "whole" not in [rung.name for rung in ladder.rungs(settings, teacher.model.config)]


@pytest.mark.parametrize(("name", "kind"), [("prompt", "gpt2"), ("prompt", "t5"), ("prefix", "t5")])
def test_an_architecture_that_cannot_is_told_before_anything_changes(name: str, kind: str, tmp_path: Path) -> None:
    given = network(getattr(tiny_models, f"write_{kind}")(tmp_path / "model"))
    before = given.model.config._attn_implementation
    with pytest.raises(ModelError, match=f"`teacher.strategy: {name}` is not possible for"):
        strategies.refuse_impossible(given.model, TeacherRecipe(strategy=name))
    assert given.model.config._attn_implementation == before


def test_a_prompt_is_not_averaged(bert: Path, tmp_path: Path) -> None:
    """Neither where the recipe asks for it, nor where the model does it already."""
    recipe = {"task": "text-classification", "data": {"train": "a.csv"}, "output": "runs/a"}
    with pytest.raises(RecipeError, match="`reads: mean` would average the vectors of `strategy: prompt`"):
        load_recipe({**recipe, "teacher": {"strategy": "prompt", "reads": "mean"}})
    given = network(bert)
    with strategies.applied(given, TeacherRecipe(reads="mean"), targets=TARGETS, seed=0):
        pass
    with pytest.raises(ModelError, match="last layer would average the vectors"):
        strategies.refuse_impossible(given.model, TeacherRecipe(strategy="prompt"))


@pytest.mark.parametrize(("layers", "settings"), [(2, {"rungs": ["one", "whole"]}), (1, {"wide": False})])
def test_who_cannot_be_its_own_student_is_told_before_training(
    layers: int, settings: dict[str, Any], tmp_path: Path
) -> None:
    """One of its rungs is the teacher itself, or nothing else is left of a teacher of one layer."""
    given = network(tiny_models.write_bert(tmp_path, layers=layers))
    asked = StudentRecipe.model_validate({"keep": 0.9, **settings})
    ladder.check(asked, given.model)
    strategies.expect(given.model, TeacherRecipe(strategy="prefix"))
    with pytest.raises(ModelError, match=r"reads vectors in front of every text.*\n.*without `whole`"):
        ladder.check(asked, given.model)


def test_the_probe_of_attention_keeps_no_model_alive(bert: Path) -> None:
    given = network(bert)
    assert prefix.places(given.model)
    alive = weakref.ref(given.model)
    del given
    gc.collect()
    assert alive() is None


def test_students_of_a_prefix_over_an_averaging_layer_grow_by_copies(bert: Path) -> None:
    given = prepared(network(bert), "prefix", reads="mean")
    settings = StudentRecipe.model_validate({"size": None, "layers": 2, "growth": {"new": "copy"}})
    growth.check(settings, build.choose(settings, given.model.config), given.model)


def test_a_prompt_takes_no_positions_and_needs_no_mask(tmp_path: Path) -> None:
    folder = tiny_models.write_bert(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    given = network(folder)
    # Fewer positions than vectors.
    given.model.base_model.embeddings.position_embeddings = torch.nn.Embedding(16, config["hidden_size"])
    prepared(given, "prompt")
    ids = torch.arange(5, 13).unsqueeze(0)
    with torch.inference_mode():
        said = [given.model(input_ids=ids, **more).logits for more in ({}, {"attention_mask": torch.ones_like(ids)})]
    torch.testing.assert_close(*said)


@BOTH
def test_its_memory_is_measured_in_a_process_of_its_own(name: str, bert: Path, tmp_path: Path) -> None:
    prepared(network(bert), name).save(tmp_path / "teacher")
    found = memory.of_network(tmp_path / "teacher", TEXTS[:4], threads=1, max_tokens=32)
    assert found is not None
    assert found.peak_mb > 50
