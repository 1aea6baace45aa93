from __future__ import annotations

import itertools
import time
import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tiny_bundle import WORDS, sentences, tokenizer
from tutelage.encoding import Reading, encode
from tutelage.text import normalise, readable


def encoded(texts: list[str], mode: str = "truncate", most: int = 8, **more: int) -> tuple[list[list[int]], list[int]]:
    reading = Reading(**{"max_tokens": most, "long_text": mode, "stride": 2, **more})
    sequences, owner = encode(tokenizer(), texts, reading)
    return sequences, owner.tolist()


def test_truncation_gives_one_sequence_a_row_within_the_bound() -> None:
    sequences, owner = encoded(sentences(50))
    assert owner == list(range(50))
    assert max(map(len, sequences)) == 8
    assert all(sequence[0] == 2 and sequence[-1] == 3 for sequence in sequences)


def test_windows_overlap_by_the_stride_and_lose_nothing() -> None:
    text = " ".join(WORDS)
    whole = tokenizer().encode(text, add_special_tokens=False).ids
    sequences, owner = encoded([text, "", "a film"], "window")
    windows = [s[1:-1] for s, row in zip(sequences, owner, strict=True) if row == 0]
    assert all(len(window) <= 6 for window in windows)
    assert all(one[-2:] == two[:2] for one, two in itertools.pairwise(windows))
    assert windows[0] + [token for window in windows[1:] for token in window[2:]] == whole
    assert sorted(set(owner)) == [0, 1, 2]
    assert owner == sorted(owner)


def test_characters_are_capped_before_the_tokenizer_when_truncating_only() -> None:
    text = " " * 200 + "fine"
    assert encoded([text])[0] == encoded([""])[0]
    assert encoded([text], "window")[0] == encoded(["fine"])[0]


def test_a_huge_text_costs_no_more_than_its_cap() -> None:
    start = time.perf_counter()
    encoded(["!" * 2_000_000])
    assert time.perf_counter() - start < 0.5


@given(st.text())
def test_normalisation_after_cleaning_is_idempotent_and_can_be_encoded(text: str) -> None:
    once = normalise(readable(text))
    assert normalise(readable(once)) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == once.strip()
    encoded([once])


@given(st.text(st.characters(exclude_categories=["Cs", "Mn", "Mc", "Me"])))
def test_texts_without_long_runs_of_marks_are_left_alone(text: str) -> None:
    assert readable(text) == text


def test_what_stands_between_marks_and_goes_does_not_hide_how_many_there_are() -> None:
    for separator in ("\u200b", "\u00ad", "\x01", "\ud800"):
        start = time.perf_counter()
        short = normalise(("a" + "\u0301\u0323" * 15 + separator) + ("\u0301\u0323" * 15 + separator) * 3000)
        assert time.perf_counter() - start < 0.5
        assert len(short) < 40
        assert normalise(short) == short
    # Some characters are composed as two marks.
    assert normalise(once := normalise("a" + "\u0344" * 30)) == once


def test_entities_become_what_they_stand_for_but_not_in_what_may_be_html() -> None:
    assert normalise("Tom &amp; Jerry &#39;s &quot;best&quot; &#x2764; &amp;lt;3") == 'Tom & Jerry \'s "best" ❤ <3'
    for kept in ("AT&T", "R&copyright", "a < b &amp; c", "fish & chips;", "&nothing;", "&#;"):
        assert normalise(kept) == kept
    assert normalise("a&nbsp;&nbsp;b&#7;&#0;") == "a b\ufffd"
    # What is dropped or composed on the way may make one, or a `<` into something else.
    for odd in ("&am\u00adp;", "&amp\u037e", "<\u0338 &amp;", "&am\x01p;lt;"):
        once = normalise(odd)
        assert "amp" not in once
        assert normalise(once) == once
    start = time.perf_counter()
    normalise("&" + "amp;" * 25_000)
    assert time.perf_counter() - start < 0.5


def test_lone_surrogates_and_endless_marks_go() -> None:
    assert readable("fine\ud800 film") == "fine film"
    start = time.perf_counter()
    short = normalise(readable("a" + "\u0300\u0327" * 50_000 + "b"))
    assert time.perf_counter() - start < 0.5
    assert short.endswith("b")
    assert len(short) < 40
    assert readable("e" + "\u0301" * 30) == "e" + "\u0301" * 30
    assert np.all([readable(text) == text for text in ("नमस्ते दुनिया", "สวัสดีชาวโลก", "👩‍👩‍👧‍👦" * 20)])
