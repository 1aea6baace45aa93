"""What is mended and what is refused when a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_models
from splits import split
from tutelage.artifacts.network import Network
from tutelage.compress.export import export
from tutelage.compress.run import outputs
from tutelage.encoding import Reading
from tutelage.errors import ModelError
from tutelage.recipe import TrainingRecipe
from tutelage.tasks import TextClassification
from tutelage.teacher import load
from tutelage.training import supervised

TASK = TextClassification(("negative", "positive"))
TEXTS = [row["text"] for row in tiny_models.reviews()][:24]


def network(folder: Path, reading: Reading | None = None) -> Network:
    torch.manual_seed(0)
    return load.load(str(folder), TASK, reading or Reading(48))[0]


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
