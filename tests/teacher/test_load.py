"""What is mended and what is refused when a model is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_models
from splits import split
from tutelage.artifacts.network import Network
from tutelage.compress.export import export
from tutelage.compress.run import outputs
from tutelage.encoding import Reading
from tutelage.errors import ModelError
from tutelage.recipe import TrainingRecipe
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.tasks import Task, TextClassification, TextRegression
from tutelage.teacher import fine_tune, load
from tutelage.training import supervised

TASK = TextClassification(("negative", "positive"))
TEXTS = [row["text"] for row in tiny_models.reviews()][:24]


def network(folder: Path, reading: Reading | None = None, task: Task = TASK) -> Network:
    torch.manual_seed(0)
    return load.load(str(folder), task, reading or Reading(48))[0]


@pytest.mark.parametrize("pad", [5, 599, 10_000, None])
def test_a_decoder_reads_the_end_of_a_text_whatever_stands_beside_it(pad: int | None, tmp_path: Path) -> None:
    """Older folders name one padding token in the configuration and another, or none, in the tokenizer."""
    folder = tiny_models.write_gpt2(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": pad}))
    given = network(folder)
    assert given.model.config.pad_token_id == given.tokenizer.pad_token_id
    together = given.outputs(given.tokenize(TEXTS))
    alone = np.concatenate([given.outputs(given.tokenize([text])) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_weights_that_are_not_those_of_the_configuration_are_refused(bert: Path, tmp_path: Path) -> None:
    """They would be random, and nothing would say so."""
    longer = shutil.copytree(bert, tmp_path / "longer")
    config = json.loads((longer / "config.json").read_text())
    (longer / "config.json").write_text(json.dumps({**config, "num_hidden_layers": config["num_hidden_layers"] + 1}))
    with pytest.raises(ModelError, match=r"do not fit its config\.json: .*layer\.4"):
        network(longer)
    wider = shutil.copytree(bert, tmp_path / "wider")
    (wider / "config.json").write_text(json.dumps({**config, "intermediate_size": 2 * config["intermediate_size"]}))
    with pytest.raises(ModelError, match="or of another size"):
        network(wider)
    wrapped = shutil.copytree(bert, tmp_path / "wrapped")
    weights = load_file(wrapped / "model.safetensors")
    save_file({f"encoder_q.{name}": value for name, value in weights.items()}, wrapped / "model.safetensors")
    with pytest.raises(ModelError, match="do not fit"):
        network(wrapped)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"])
def test_a_file_that_only_stands_for_weights_is_told_of(content: bytes, bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be loaded"):
        network(folder)


def test_a_head_for_the_same_labels_in_another_order_is_used(bert: Path, tmp_path: Path) -> None:
    network(bert).save(tmp_path / "as it is")
    given, fitted = load.load(str(tmp_path / "as it is"), TASK, Reading(48))
    assert fitted
    turned = shutil.copytree(tmp_path / "as it is", tmp_path / "turned")
    config = json.loads((turned / "config.json").read_text())
    names = {"id2label": {"0": "positive", "1": "negative"}, "label2id": {"positive": 0, "negative": 1}}
    (turned / "config.json").write_text(json.dumps({**config, **names}))
    other, fitted = load.load(str(turned), TASK, Reading(48))
    assert fitted
    tokens = given.tokenize(TEXTS)
    np.testing.assert_allclose(other.outputs(tokens), given.outputs(tokens)[:, ::-1], atol=1e-6)
    assert other.model.config.id2label == {0: "negative", 1: "positive"}


def test_a_head_that_is_in_no_file_was_never_trained(bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    names = {"id2label": {"0": "negative", "1": "positive"}, "label2id": {"negative": 0, "positive": 1}}
    config |= {"architectures": ["BertForSequenceClassification"], **names}
    (folder / "config.json").write_text(json.dumps(config))
    assert not load.load(str(folder), TASK, Reading(48))[1]
    (folder / "config.json").write_text(json.dumps({**config, "id2label": {"0": " ", "1": "x"}}))
    assert not load.load(str(folder), TASK, Reading(48))[1]


def test_a_head_for_other_labels_is_told_of(bert: Path, tmp_path: Path) -> None:
    network(bert).save(tmp_path / "model")
    task, settings = TextClassification(("bad", "good")), TeacherRecipe(model=str(tmp_path / "model"))
    given, fitted = load.load(settings.model, task, Reading(48))
    assert not fitted
    assert fine_tune.trains(given, settings, fitted=fitted)
    said = fine_tune.told(settings, task, fitted=fitted)
    assert "a head for negative, positive, and the data have bad, good" in said
    with pytest.raises(ModelError, match="has a head for negative, positive"):
        fine_tune.trains(given, settings.model_copy(update={"fine_tune": False}), fitted=fitted)
    assert load.other_labels(str(bert), task) == []


def test_a_head_for_other_numbers_learns_these(bert: Path, tmp_path: Path) -> None:
    network(bert, task=TextRegression(0.5, 1.5)).save(tmp_path / "model")
    settings = TeacherRecipe(model=str(tmp_path / "model"))
    for task, trains in ((TextRegression(0.4, 1.4), False), (TextRegression(100.0, 15.0), True)):
        given, fitted = load.load(settings.model, task, Reading(48))
        assert fitted
        assert fine_tune.trains(given, settings, fitted=fitted) is trains
        assert not fine_tune.trains(given, settings.model_copy(update={"fine_tune": False}), fitted=fitted)


def test_a_padding_token_beyond_the_table_is_not_used(tmp_path: Path) -> None:
    folder = tiny_models.write_gpt2(tmp_path)
    tokenizer = network(folder).tokenizer
    tokenizer.add_special_tokens({"pad_token": "<padding>"})
    tokenizer.save_pretrained(folder)
    given = network(folder)
    assert given.pad < given.model.get_input_embeddings().num_embeddings
    assert np.isfinite(given.outputs(given.tokenize(TEXTS))).all()


def test_a_text_that_holds_an_end_token_has_one_end_all_the_same(tmp_path: Path) -> None:
    given = network(tiny_models.write_t5(tmp_path / "model"))
    odd = ["a <s>fine</s> film", "dull", "</s>", *TEXTS[:5]]
    expected = given.outputs(given.tokenize(odd))
    alone = np.concatenate([given.outputs(given.tokenize([text])) for text in odd])
    np.testing.assert_allclose(expected, alone, atol=1e-5)
    made = export(given, tmp_path / "model.onnx", texts=TEXTS[:8])
    np.testing.assert_allclose(outputs(made.file, given, given.tokenize(odd)), expected, atol=1e-3)


def test_what_positions_a_model_keeps_for_padding_are_no_texts(tmp_path: Path) -> None:
    """RoBERTa's positions begin behind that of its padding: of 132 there are 131 for tokens, with padding 0."""
    folder = tiny_models.write_roberta(tmp_path)
    assert np.isfinite(
        network(folder, Reading(131)).outputs(network(folder, Reading(131)).tokenize(["film " * 300]))
    ).all()
    with pytest.raises(ModelError, match="reads at most 131"):
        network(folder, Reading(132))


def test_another_way_to_read_is_another_training(bert: Path) -> None:
    rows, settings = split(TEXTS, [0.0, 1.0] * 12), TrainingRecipe()
    names = {
        supervised.fingerprint(network(bert, reading), settings, rows.fingerprint)
        for reading in (Reading(48), Reading(32), Reading(48, "window", 8))
    }
    assert len(names) == 3
