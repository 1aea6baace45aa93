"""Packed blocks, the mixture of sources, tokenizers: what a pre-training reads, and in which order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import tiny_models
from tutelage.errors import DataError
from tutelage.pretrain_recipe import TokenizerRecipe
from tutelage.teacher.pretrain import vocabulary
from tutelage.teacher.pretrain.blocks import Blocks, Writer
from tutelage.teacher.pretrain.mixture import Mixture
from tutelage.teacher.pretrain.special import special_of

TEXTS = [row["text"] for row in tiny_models.reviews()]
ARCHITECTURES = ("encoder", "decoder", "encoder-decoder")


def trained(kind: str, architecture: str = "encoder", size: int = 500, **more: object):
    recipe = TokenizerRecipe(kind=kind, vocabulary=size, **more)
    characters = Counter("".join(TEXTS))
    return vocabulary.train(recipe, iter(TEXTS), characters, architecture=architecture, length=64)


# --- blocks ------------------------------------------------------------------------------------------------------


def test_texts_are_packed_without_padding_and_can_be_read_back(tmp_path: Path) -> None:
    tokenizer = tiny_models.word_piece()
    end = special_of(tokenizer).end
    writer = Writer(tmp_path / "a", tokenizer, end)
    for text in TEXTS:
        writer.add(text)
    written = writer.close()
    blocks = Blocks.open(tmp_path / "a", 50)
    assert written.bytes == sum(len(text.encode()) for text in TEXTS)
    assert (tmp_path / "a").stat().st_size == 4 * written.tokens
    assert len(blocks) == written.tokens // 50
    ids = np.concatenate([blocks.take(number)[0] for number in range(len(blocks))])
    expected = [[*tokenizer(text, add_special_tokens=False)["input_ids"], end] for text in TEXTS]
    assert ids.tolist() == [token for text in expected for token in text][: len(ids)]


def test_a_token_that_continues_a_word_is_known_as_such(tmp_path: Path) -> None:
    tokenizer = tiny_models.word_piece(120)
    writer = Writer(tmp_path / "a", tokenizer, special_of(tokenizer).end)
    for text in TEXTS:
        writer.add(text)
    ids, begins = Blocks.open(tmp_path / "a", writer.close().tokens).take(0)
    tokens = tokenizer.convert_ids_to_tokens(ids.tolist())
    inside = [token.startswith("##") for token in tokens]
    assert any(inside)
    assert inside == (~begins).tolist()


def test_what_a_text_says_is_text_even_where_it_names_a_special_token(tmp_path: Path) -> None:
    tokenizer = tiny_models.word_piece()
    writer = Writer(tmp_path / "a", tokenizer, special_of(tokenizer).end)
    writer.add("a [SEP] b")
    tokens = writer.close().tokens
    ids, _ = Blocks.open(tmp_path / "a", tokens).take(0)
    assert ids.tolist().count(special_of(tokenizer).end) == 1


def test_a_long_text_is_read_in_pieces_and_ends_once(tmp_path: Path) -> None:
    tokenizer = tiny_models.word_piece()
    end = special_of(tokenizer).end
    writer = Writer(tmp_path / "a", tokenizer, end)
    writer.add("a fine film " * 20_000)
    written = writer.close()
    ids, _ = Blocks.open(tmp_path / "a", written.tokens).take(0)
    each = tokenizer("a fine film", add_special_tokens=False)["input_ids"]
    assert ids.tolist() == [*each * 20_000, end]


# --- the mixture -------------------------------------------------------------------------------------------------


def rows_of(mixture: Mixture, stretches: range, *, steps: int = 7, rows: int = 5) -> list[int]:
    return [
        int(row) for stretch in stretches for batch in mixture.plan(stretch, steps=steps, rows=rows) for row in batch
    ]


@pytest.mark.parametrize("weights", [[1, 1], [0.9, 0.1], [5, 3, 2], [1]])
def test_sources_have_their_part_of_every_stretch(weights: list[float]) -> None:
    mixture = Mixture([17] * len(weights), weights, seed=0)
    for stretch in range(5):
        found = Counter(mixture.find(row)[0] for row in rows_of(mixture, range(stretch, stretch + 1), steps=20))
        for source, weight in enumerate(weights):
            assert abs(found[source] - 100 * weight / sum(weights)) <= len(weights)


def test_many_sources_fill_every_stretch_and_none_goes_back() -> None:
    for weights, steps, rows in (([1] * 24, 10, 32), ([1] * 12, 2, 16), ([5, 3, 1, 1, 1, 0.5], 1, 3)):
        mixture = Mixture([1000] * len(weights), weights, seed=0)
        found = Counter[int]()
        for stretch in range(12):
            plan = mixture.plan(stretch, steps=steps, rows=rows)
            assert [len(batch) for batch in plan] == [rows] * steps
            found.update(mixture.find(int(row))[0] for batch in plan for row in batch)
            drawn = (stretch + 1) * steps * rows
            for source, weight in enumerate(weights):
                assert abs(found[source] - drawn * weight / sum(weights)) < 1.5


def test_every_block_comes_once_before_any_comes_again() -> None:
    mixture = Mixture([35, 70], [1, 2], seed=3)
    found = [mixture.find(row) for row in rows_of(mixture, range(3))]  # 105 rows: one turn of both
    assert sorted(found) == [*((0, block) for block in range(35)), *((1, block) for block in range(70))]


def test_no_row_comes_twice_though_blocks_do_and_their_order_changes() -> None:
    mixture = Mixture([10], [1], seed=0)
    rows = rows_of(mixture, range(4))
    assert len({*rows}) == len(rows) == 140
    turns = np.array([mixture.find(row)[1] for row in sorted(rows)]).reshape(14, 10)
    assert all(sorted(turn) == list(range(10)) for turn in turns.tolist())
    assert len({tuple(turn) for turn in turns.tolist()}) == 14


def test_a_stretch_is_the_same_whatever_came_before_and_depends_on_the_seed() -> None:
    def found(seed: int, first: range) -> list[tuple[int, int]]:
        mixture = Mixture([10, 23], [1, 3], seed=seed)
        rows_of(mixture, first)
        return [mixture.find(row) for row in rows_of(mixture, range(5, 6))]

    assert found(0, range(0)) == found(0, range(5))
    assert found(0, range(0)) != found(1, range(0))


# --- tokenizers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_a_tokenizer_has_the_size_asked_for_and_its_special_tokens(
    kind: str, architecture: str, tmp_path: Path
) -> None:
    import transformers

    tokenizer = trained(kind, architecture, 600)
    tokenizer.save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == len(again) == 600
    special = special_of(again)
    assert len(special.sentinels) == (100 if architecture == "encoder-decoder" else 0)
    assert (special.mask is not None) == (architecture == "encoder")
    ids = again("a fine film")["input_ids"]
    assert (ids[-1] == special.end) == (architecture != "decoder")
    assert again.decode(ids, skip_special_tokens=True).strip() == "a fine film"
    assert again.unk_token_id not in ids
    # Bytes know everything; the others say so.
    assert (again.unk_token_id in again("fine 鱻 film")["input_ids"]) == (kind != "bpe")


def vocabularies() -> str:
    return json.dumps([trained(kind).get_vocab() for kind in ("wordpiece", "bpe")], sort_keys=True)


def test_the_same_texts_give_the_same_tokenizer_in_every_process() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.path.insert(0, sys.argv[2])\n"
        "import test_pretrain_parts as parts\n"
        "print(parts.vocabularies(), end='')"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", code, str(here), str(here.parent)]
    found = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert found == [vocabularies()] * 2


def test_lowercase_is_as_asked() -> None:
    for kind in ("wordpiece", "bpe", "unigram"):
        same = [trained(kind, lowercase=wanted) for wanted in (True, False)]
        capitals = ["FINE" in "".join(tokenizer.get_vocab()) or tokenizer.tokenize("Film") for tokenizer in same]
        assert capitals[0] == same[0].tokenize("film")
        assert capitals[1] != same[1].tokenize("film")


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_texts_that_are_too_small_for_the_vocabulary_are_refused(kind: str) -> None:
    with pytest.raises(DataError, match="too small for the vocabulary") as caught:
        trained(kind, size=30_000)
    assert "tokenizer.vocabulary" in str(caught.value)


def test_special_tokens_must_leave_room() -> None:
    with pytest.raises(DataError, match="special ones"):
        trained("unigram", "encoder-decoder", 150)
