"""Copies are new texts, follow from content and seed, and are asked about before they teach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import tiny_models
from splits import split
from tutelage.artifacts.corpus import Corpus, Split, content_key, join
from tutelage.artifacts.network import Network
from tutelage.augment import copies, neighbours, vocabulary
from tutelage.augment.copies import Copies
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe_augment import AugmentRecipe
from tutelage.tasks import TextClassification, TextRegression
from tutelage.teacher import load

TEXTS = [row["text"] for row in tiny_models.reviews()]
CLASSES = TextClassification(("negative", "positive"))


@pytest.fixture(scope="module")
def teacher(bert: Path) -> Network:
    return load.load(str(bert), CLASSES, Reading(48))[0]


def corpus(train: list[str], **others: list[str]) -> Corpus:
    splits = {name: split(texts, name=name) for name, texts in {"train": train, **others}.items()}
    return Corpus(Path(), CLASSES, splits, "f", {})


def made(teacher: Network, given: Corpus, seed: int = 0, **settings: Any) -> Copies:
    recipe = AugmentRecipe(**{"ways": ["swap", "recombine"], **settings})
    more = recipe.unlabelled
    return copies.make(given, teacher, recipe, seed=seed, normalised=True, unlabelled=more, progress=Silent())


def test_no_copy_is_a_text_of_any_split_or_another_copy(teacher: Network) -> None:
    given = corpus(TEXTS[:60], validation=TEXTS[60:80], test=TEXTS[80:100])
    first = made(teacher, given, copies=2)
    taken = {text for one in given.splits.values() for text in one.texts()}
    assert len(set(first.split.texts())) == len(first.split) > 150
    assert not taken & set(first.split.texts())
    # What would have come out is left out where test holds it, and nothing else changes.
    stolen = first.split.texts()[::7]
    again = made(teacher, corpus(TEXTS[:60], validation=TEXTS[60:80], test=stolen), copies=2)
    assert again.split.texts() == [text for text in first.split.texts() if text not in stolen]
    assert sum(again.known.values()) == sum(first.known.values()) + len(stolen)


def test_copies_have_no_label_and_tell_where_they_come_from(teacher: Network) -> None:
    found = made(teacher, corpus(TEXTS[:30], unlabelled=TEXTS[30:40]), unlabelled=True)
    assert np.isnan(found.split.targets).all()
    assert found.split.keys[3].tobytes() == content_key(found.split.texts()[3])
    assert set(found.split.table["source"].to_pylist()) == {"copy: swap", "copy: recombine"}
    rows = found.split.table["row"].to_numpy()
    assert rows.min() == 1
    assert rows.max() == 40
    # Ten of the texts have no label, and halves of two no single original: no answer to hold on to.
    bound = (found.ways == "swap") & (rows <= 30)
    assert bound.sum() > 20
    assert (found.origin == np.where(bound, rows - 1, -1)).all()
    for text, origin in zip(np.array(found.split.texts())[bound], found.origin[bound], strict=True):
        assert sorted("".join(text.split())) == sorted("".join(TEXTS[origin].split()))


def test_unlabelled_texts_that_are_all_elsewhere_are_none(teacher: Network) -> None:
    plain = made(teacher, corpus(TEXTS[:30]))
    assert made(teacher, corpus(TEXTS[:30]), unlabelled=True).split.texts() == plain.split.texts()


def test_a_copy_follows_from_its_text_and_the_seed(teacher: Network) -> None:
    few, many = (set(made(teacher, corpus(TEXTS[:n]), ways=["swap"]).split.texts()) for n in (20, 60))
    assert few < many
    assert few != set(made(teacher, corpus(TEXTS[:20]), seed=1, ways=["swap"]).split.texts())


def test_neighbours_come_from_the_teachers_own_table(teacher: Network) -> None:
    names = vocabulary.whole_words(teacher.tokenizer)
    assert "film" in names.values()
    assert not {"##e", "[CLS]", "e", "!"} & set(names.values())
    number = {word: token for token, word in names.items()}
    table = teacher.model.get_input_embeddings().weight
    with torch.no_grad():
        before = table.clone()
        table[number["great"]] = table[number["film"]] + 0.001
        found = neighbours.of_texts(teacher, ["Film FILM film, filmfilm", "xyz"], Silent())
        table.copy_(before)
    assert found["film"][0] == "great"
    assert (found["Film"][0], found["FILM"][0]) == ("Great", "GREAT")
    assert "filmfilm" not in found
    assert all(word.casefold() not in map(str.casefold, others) for word, others in found.items())


def test_a_mark_before_every_text_is_no_part_of_a_word_of_a_script_without_spaces() -> None:
    pieces = [("<unk>", 0.0), ("▁", -1.0), ("好", -2.0), ("▁天", -2.0), ("天", -3.0), ("电影", -2.0), ("▁film", -2.0)]
    built = Tokenizer(models.Unigram(pieces, unk_id=0))
    built.pre_tokenizer, built.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=built, unk_token="<unk>")
    assert vocabulary.tokens(tokenizer, ["好", "天", "电影", "film", "坏"]) == [2, 4, 5, 6, -1]
    # What is left of a heart, and nothing at all.
    assert vocabulary.tokens(tiny_models.word_piece(), ["\ufe0f", "\u0301", ""]) == [-1, -1, -1]
    assert set(vocabulary.whole_words(tokenizer).values()) >= {"好", "电影", "film"}


def test_every_kind_of_tokenizer_has_whole_words() -> None:
    kinds = [(decoders.ByteLevel(), tiny_models.byte_bpe()), (decoders.Metaspace(), tiny_models.unigram())]
    for decoder, tokenizer in kinds:
        tokenizer.backend_tokenizer.decoder = decoder
        names = vocabulary.whole_words(tokenizer)
        assert names
        for token, word in names.items():
            assert tokenizer(f"a {word}", add_special_tokens=False)["input_ids"][-1] == token


def test_answers_agree_where_the_class_stays_or_the_value_moves_little() -> None:
    before, after = np.array([[2.0, 0.0], [2.0, 0.0]]), np.array([[0.1, 0.0], [0.0, 0.1]])
    assert copies.agrees(CLASSES, before, after, 0.5).tolist() == [True, False]
    task = TextRegression(10.0, 4.0)
    values, moved = np.array([[9.0], [9.0]]), np.array([[10.9], [11.1]])
    assert copies.agrees(task, values, moved, 0.5).tolist() == [True, False]


def test_texts_that_are_no_copies_come_first_and_are_free(teacher: Network) -> None:
    found = made(teacher, corpus(TEXTS[:10])).behind(split(TEXTS[10:13], [None] * 3, name="unlabelled"))
    assert found.split.texts()[:3] == TEXTS[10:13]
    assert found.origin[:3].tolist() == [-1, -1, -1]
    assert found.ways[:4].tolist() == ["", "", "", "swap"]
    assert len(Copies.none().behind(join("more", [])).split) == 0


def test_a_split_in_memory_is_the_same_from_disk(tmp_path: Path) -> None:
    both = join("more", [split(TEXTS[:3]), Split.unlabelled("copies", TEXTS[3:5], ["copy: swap"] * 2, [7, 8])])
    both.take(np.array([4, 0])).save(tmp_path / "more.arrow")
    back = Split.load("more", tmp_path / "more.arrow")
    assert back.texts() == [TEXTS[4], TEXTS[0]]
    assert back.keys.tolist() == both.keys[[4, 0]].tolist()
    assert back.table["row"].to_pylist() == [8, 1]
    assert np.isnan(back.targets).tolist() == [True, False]
