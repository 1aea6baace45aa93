"""What comes back from another language follows from text and seed, is kept, and is only taken when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import decoders

import tiny_models
import tiny_recipe
from tutelage import recipe as recipes
from tutelage import rewording
from tutelage.artifacts.answers import Answers
from tutelage.augment import back_translate
from tutelage.augment.given import Given, luck
from tutelage.augment.translator import Translator, Translators
from tutelage.augment.ways import WAYS
from tutelage.errors import ModelError, RecipeError
from tutelage.progress import Silent

THERE = {"a good film": "the story was great", "a bad story": "not a good movie"}
BACK = {"the story was great": "a great movie", "not a good movie": "the movie is bad"}
TEXTS = list(THERE)
KEY = "student.augment.translators.there"


def taught(folder: Path, model: Any, tokenizer: Any, pairs: Mapping[str, str], prefix: str = "") -> Path:
    """A model that has learned some translations by heart."""
    read = tokenizer([prefix + text for text in pairs], padding=True, return_tensors="pt")
    said = tokenizer(list(pairs.values()), padding=True, return_tensors="pt")["input_ids"]
    labels = said.masked_fill(said == tokenizer.pad_token_id, -100)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        loss = model(input_ids=read["input_ids"], attention_mask=read["attention_mask"], labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.05:
            break
    assert loss.item() < 0.1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = tiny_models.unigram()
    tokenizer.backend_tokenizer.decoder = decoders.Metaspace()
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer) + 3,
        d_model=32,
        d_kv=8,
        d_ff=64,
        dropout_rate=0.0,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(config)
    return taught(tmp_path_factory.mktemp("there"), model, tokenizer, THERE, "good: ")


@pytest.fixture(scope="module")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import MarianConfig, MarianMTModel

    tokenizer = tiny_models.word_piece()
    tokenizer.eos_token = "[SEP]"
    torch.manual_seed(0)
    config = MarianConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=40,
        pad_token_id=0,
        eos_token_id=3,
        forced_eos_token_id=3,
        decoder_start_token_id=0,
        num_beams=4,
        dropout=0.0,
        scale_embedding=True,
    )
    return taught(tmp_path_factory.mktemp("back"), MarianMTModel(config), tokenizer, BACK)


def pair(t5: Path, marian: Path, folder: Path, temperature: float | None = None) -> Translators:
    there = Translator.look(str(t5), local=True, prefix="good: ", key=KEY)
    return Translators(there, Translator.look(str(marian), local=True, prefix="", key=KEY), temperature, folder)


def returned(translators: Translators, texts: list[str], copies: int = 1, seed: int = 0) -> list[list[str]]:
    """By copy, what came back of each text."""
    told = back_translate.of_texts(texts, translators, copies=copies, seed=seed, progress=Silent())
    given = Given(0.1, translated=told)
    lucks = [[luck(text, seed, "back-translate", number) for text in texts] for number in range(copies)]
    return [WAYS["back-translate"](texts, mine, given) for mine in lucks]


def test_a_text_goes_there_and_comes_back(t5: Path, marian: Path, tmp_path: Path) -> None:
    translators = pair(t5, marian, tmp_path)
    assert translators.there.translate(TEXTS, [], None) == list(THERE.values())
    assert returned(translators, [*TEXTS, ""]) == [["a great movie", "the movie is bad", ""]]


def test_what_is_too_long_or_has_no_end_stays_as_it_is(t5: Path, marian: Path, tmp_path: Path) -> None:
    translators = pair(t5, marian, tmp_path)
    long = "film " * 60
    assert translators.back.translate([long, "the story was great"], [], None) == ["", "a great movie"]
    with torch.no_grad():
        translators.back.model.final_logits_bias[0, 3] = -1e9
    # Its end can now only be forced at the limit.
    assert translators.back.translate(["the story was great"], [], None) == [""]
    assert returned(translators, TEXTS) == [TEXTS]


def test_draws_follow_from_text_and_seed_whatever_the_company(t5: Path, marian: Path, tmp_path: Path) -> None:
    def drawn(folder: str, texts: list[str], seed: int = 0) -> list[list[str]]:
        return returned(pair(t5, marian, tmp_path / folder, 3.0), texts, copies=4, seed=seed)

    several = drawn("a", TEXTS)
    assert len({copy[0] for copy in several}) > 1
    assert [copy[:1] for copy in several] == drawn("b", TEXTS[:1])
    assert several == drawn("c", TEXTS) != drawn("d", TEXTS, seed=1)
    # Hardly any warmth: nothing but the likeliest.
    cold = returned(pair(t5, marian, tmp_path / "e", 0.01), TEXTS)
    assert cold == returned(pair(t5, marian, tmp_path / "f"), TEXTS)


def test_what_was_translated_before_a_kill_is_not_translated_again(
    t5: Path, marian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(back_translate, "_AT_ONCE", 2)
    texts = [*TEXTS, "a film", "the film", "good", "bad story"]
    expected = returned(pair(t5, marian, tmp_path / "whole"), texts)
    asked: list[str] = []
    translate = Translator.translate

    def dying(self: Translator, some: Any, *args: Any) -> list[str]:
        asked.extend(some)
        if len(asked) > 9:
            raise KeyboardInterrupt
        return translate(self, some, *args)

    monkeypatch.setattr(Translator, "translate", dying)
    with pytest.raises(KeyboardInterrupt):
        returned(pair(t5, marian, tmp_path / "cut"), texts)
    asked.clear()
    assert returned(pair(t5, marian, tmp_path / "cut"), texts) == expected
    assert len(asked) == 4
    # A broken file is as if it were not there.
    next((tmp_path / "cut").glob("*.json")).write_text("{")
    asked.clear()
    assert returned(pair(t5, marian, tmp_path / "cut"), texts) == expected
    assert len(asked) == 4


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    answers = Answers.open(tmp_path / "new")
    answers.add({"a": [0.1, -1e-17], "b": "ä\n"})
    answers.add({"c": 1 / 3})
    again = Answers.open(tmp_path / "new")
    assert (again["a"], again["b"], again["c"]) == ([0.1, -1e-17], "ä\n", 1 / 3)
    assert "d" not in again
    again.add({"d": None})
    assert len(list((tmp_path / "new").glob("*.json"))) == 3


def test_what_cannot_translate_is_refused(t5: Path, marian: Path, bert: Path, tmp_path: Path) -> None:
    def look(place: Path) -> None:
        Translator.look(str(place), local=True, prefix="", key=KEY)

    with pytest.raises(ModelError, match="cannot translate: it was saved as BertModel") as refused:
        look(bert)
    assert KEY in str(refused.value)
    with pytest.raises(ModelError, match="cannot be loaded"):
        look(tmp_path)
    mixed = shutil.copytree(t5, tmp_path / "mixed")
    tiny_models.byte_bpe(700).save_pretrained(mixed)
    with pytest.raises(ModelError, match="its tokenizer has"):
        look(mixed)
    other = shutil.copytree(marian, tmp_path / "other")
    tiny_models.unigram(500).save_pretrained(other)
    with pytest.raises(ModelError, match="eos token is number 1, and the model's 3"):
        look(other)


ASKED = {"ways": ["back-translate"]}


def test_a_recipe_says_at_once_what_is_wrong(t5: Path, marian: Path, bert: Path, tmp_path: Path) -> None:
    def load(**more: Any) -> recipes.Recipe:
        student = {"augment": {**ASKED, **more}}
        return recipes.load(tiny_recipe.recipe(tiny_models.REVIEWS, bert, tmp_path / "run", student=student))

    both = {"there": str(t5), "back": {"model": str(marian), "prefix": ">>eng<< "}}
    with pytest.raises(RecipeError, match="`back-translate` and `translators` belong together"):
        load()
    with pytest.raises(RecipeError, match="would be the same text each time"):
        load(translators=both, copies=2)
    with pytest.raises(RecipeError, match="rate would do nothing"):
        load(translators=both, rate=0.3)
    fine = load(translators={**both, "temperature": 0.9}, copies=2)
    rewording.refuse_unfit(fine)
    assert fine.student.augment is not None
    tools = rewording.tools(fine.student.augment, fine, tmp_path, key="student.augment")
    assert tools.translators is not None
    assert tools.translators.back.prefix == ">>eng<< "
    with pytest.raises(ModelError, match=r"the model folder \./nowhere does not exist"):
        rewording.refuse_unfit(load(translators={**both, "there": "./nowhere"}))
