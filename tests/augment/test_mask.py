"""Gaps are filled by a masked language model: whole words, and never the word that was there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tiny_models
from tutelage.augment import vocabulary, words
from tutelage.augment.given import Given, luck
from tutelage.augment.mask import Masked, _gaps
from tutelage.augment.ways import WAYS
from tutelage.errors import ModelError

TEXTS = ["A great film, and the acting is good!", "The story was bad.", "!", "", "这 film"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that always thinks of `great` first and of `film` next."""
    from transformers import BertConfig, BertForMaskedLM

    place = tmp_path_factory.mktemp("masked")
    tokenizer = tiny_models.word_piece()
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32
    )
    model = BertForMaskedLM(config)
    number = {word: token for token, word in vocabulary.whole_words(tokenizer).items()}
    with torch.no_grad():
        model.cls.predictions.bias[number["great"]] = 90.0
        model.cls.predictions.bias[number["film"]] = 80.0
        # What is no word of its own is never put in, however likely.
        model.cls.predictions.bias[tokenizer.convert_tokens_to_ids("##s")] = 99.0
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def filled(folder: Path, texts: list[str], rate: float, *, length: int = 48) -> list[str]:
    masked = Masked.load(str(folder), local=True, length=length)
    return WAYS["mask"](texts, [luck(text, "mask") for text in texts], Given(rate, masked=masked))


def listed(text: str) -> list[str]:
    return [text[slice(*place)] for place in words.spans(text)]


def test_gaps_hold_likely_words_and_the_rest_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.augment.mask._LIKELIEST", 1)
    before, after = listed(TEXTS[0]), listed(filled(folder, TEXTS, 0.3)[0])
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert 1 <= len(changed) <= round(0.3 * len(before))
    assert all(new.lower() == ("film" if old.lower() == "great" else "great") for old, new in changed)
    every = listed(filled(folder, TEXTS, 1.0)[0])
    assert set(map(str.lower, every)) - set(map(str.lower, before)) == set()
    assert every[2] == "great"


def test_what_has_no_whole_word_stays_as_it_is(folder: Path) -> None:
    once = filled(folder, TEXTS, 0.5)
    assert once[2:4] == TEXTS[2:4]
    assert once == filled(folder, TEXTS, 0.5)
    # Company in the batch changes nothing.
    assert once[1] == filled(folder, TEXTS[1:2], 0.5)[0]


def test_what_lies_beyond_the_models_length_stays(folder: Path) -> None:
    text = "good " * 30
    copy = filled(folder, [text], 1.0, length=8)[0].split()
    assert copy[6:] == text.split()[6:]
    assert "good" not in copy[:6]


@pytest.mark.parametrize("kind", ["byte_bpe", "unigram"])
def test_words_are_found_whatever_counts_the_space_before_them(kind: str) -> None:
    tokenizer = getattr(tiny_models, kind)()
    text = "A film and a film, and the film 映"
    read = tokenizer([text], return_offsets_mapping=True)
    gaps = _gaps(text, read["offset_mapping"][0], luck(text, "mask"), 1.0)
    found = [text[slice(*place)] for place, _ in gaps]
    assert found.count("film") == 3
    # Of a character that takes several tokens no part is masked.
    assert "映" not in found or kind == "unigram"


def test_a_model_that_fills_no_gaps_is_refused(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot fill gaps"):
        Masked.load(str(bert), local=True, length=48)
    with pytest.raises(ModelError, match=r"masked_model"):
        Masked.load(str(tmp_path), local=True, length=48)
