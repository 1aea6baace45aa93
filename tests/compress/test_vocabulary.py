from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_models
from tutelage.artifacts.tokens import Tokens, tokenize
from tutelage.compress import vocabulary
from tutelage.encoding import Reading

TEXTS = [row["text"] for row in tiny_models.reviews()]
SEEN, UNSEEN = TEXTS[:60], TEXTS[60:]


@pytest.fixture(params=["word_piece", "byte_bpe", "unigram"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return getattr(tiny_models, request.param)()


def tokens(tokenizer: Any, texts: list[str]) -> Tokens:
    return tokenize(texts, tokenizer.backend_tokenizer, Reading(64))


def strings(tokenizer: Any, ids: list[int]) -> list[str]:
    return list(tokenizer.convert_ids_to_tokens(ids))


def letters(tokenizer: Any, text: str) -> str:
    return "".join(strings(tokenizer, tokenizer(text)["input_ids"])).replace("##", "")


def test_seen_texts_are_read_as_before(tokenizer: Any) -> None:
    trimmed = vocabulary.trim(tokenizer, [tokens(tokenizer, SEEN)])
    assert len(trimmed.kept) == len(trimmed.tokenizer)
    assert len(trimmed.tokenizer) < len(tokenizer)
    old, new = tokens(tokenizer, SEEN), tokens(trimmed.tokenizer, SEEN)
    assert np.array_equal(np.array(trimmed.kept)[new.flat], old.flat)
    assert np.array_equal(old.start, new.start)


def test_the_kept_ids_name_the_same_tokens(tokenizer: Any) -> None:
    trimmed = vocabulary.trim(tokenizer, [tokens(tokenizer, SEEN)])
    ids = list(range(len(trimmed.kept)))
    assert strings(trimmed.tokenizer, ids) == strings(tokenizer, list(trimmed.kept))


def unknown_share(tokenizer: Any, texts: list[str]) -> float:
    unknown = tokenizer.unk_token_id
    return 0.0 if unknown is None else float((tokens(tokenizer, texts).flat == unknown).mean())


def test_unseen_words_fall_apart_instead_of_vanishing(tokenizer: Any) -> None:
    trimmed = vocabulary.trim(tokenizer, [tokens(tokenizer, SEEN)])
    before = unknown_share(tokenizer, UNSEEN)
    assert unknown_share(trimmed.tokenizer, UNSEEN) <= before + 1e-9
    if before == 0:
        assert [letters(trimmed.tokenizer, text) for text in UNSEEN] == [letters(tokenizer, text) for text in UNSEEN]


def test_special_tokens_keep_their_part(tokenizer: Any) -> None:
    trimmed = vocabulary.trim(tokenizer, [tokens(tokenizer, SEEN)]).tokenizer
    assert trimmed.special_tokens_map == tokenizer.special_tokens_map
    for token in tokenizer.all_special_tokens:
        assert trimmed.convert_tokens_to_ids(token) in trimmed.all_special_ids


def test_it_survives_a_folder(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    trimmed = vocabulary.trim(tokenizer, [tokens(tokenizer, SEEN)]).tokenizer
    trimmed.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(TEXTS)["input_ids"] == trimmed(TEXTS)["input_ids"]


def test_the_original_is_not_changed(tokenizer: Any) -> None:
    before = tokenizer.backend_tokenizer.to_str()
    vocabulary.trim(tokenizer, [])
    assert tokenizer.backend_tokenizer.to_str() == before


def test_a_size_keeps_what_the_texts_use_most(tokenizer: Any) -> None:
    read = tokens(tokenizer, SEEN)
    counts = np.bincount(read.flat, minlength=len(tokenizer))
    limited = vocabulary.trim(tokenizer, [read], at_most=150)
    whole = vocabulary.trim(tokenizer, [read])
    assert len(limited.kept) < len(whole.kept)
    kept = set(limited.kept)
    words = {index for index in range(len(tokenizer)) if len(strings(tokenizer, [index])[0].strip("#")) > 1}
    dropped = max(counts[index] for index in words - kept)
    own = sorted((counts[index] for index in words & kept), reverse=True)
    assert own[0] >= dropped
    again = tokens(limited.tokenizer, SEEN)
    assert len(again.flat) > len(read.flat)


def test_a_size_costs_seen_texts_no_letter(tokenizer: Any) -> None:
    limited = vocabulary.trim(tokenizer, [tokens(tokenizer, SEEN)], at_most=100).tokenizer
    assert [letters(limited, text) for text in SEEN] == [letters(tokenizer, text) for text in SEEN]


def test_a_size_above_what_occurs_is_filled_up_exactly() -> None:
    tokenizer = tiny_models.word_piece()
    found = vocabulary.trim(tokenizer, [tokens(tokenizer, SEEN[:3])], at_least=300, at_most=300)
    assert len(found.kept) == 300
    common = [index for index in range(len(tokenizer)) if index not in found.kept]
    assert min(common) > 200


def test_a_letter_that_never_occurs_is_dropped_only_under_a_limit() -> None:
    tokenizer = tiny_models.word_piece(more=("好", "字"))
    foreign = {tokenizer.convert_tokens_to_ids(token) for token in ("好", "字")}
    seen = [tokens(tokenizer, ["good 字"])]
    assert foreign <= set(vocabulary.trim(tokenizer, seen).kept)
    limited = vocabulary.trim(tokenizer, seen, at_most=1)
    assert strings(tokenizer, [index for index in limited.kept if index in foreign]) == ["字"]


def test_keeping_keeps_all(tokenizer: Any) -> None:
    assert vocabulary.keep(tokenizer).kept == tuple(range(len(tokenizer)))
