"""A user's text to token id sequences, read as in training: `tutelage.encoding` does the work for both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from tutelage.encoding import Reading, encode

# UAX #15, Stream-Safe Text Format: no script stacks more than 30 marks on one letter. Python's NFC takes
# quadratic time over such a run (40,000 marks: 1.2 s), holding the interpreter all the while.
_LONGEST_RUN = 30
# Marks are no word characters, so a long run of them is a run of this; letters and ASCII end it.
_NOT_WORDS = re.compile(rf"[^\w\s\x00-\u02ff]{{{_LONGEST_RUN + 1},}}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def encode_texts(
    tokenizer: Any,
    texts: Sequence[str],
    *,
    max_tokens: int,
    long_text: Literal["truncate", "window"],
    stride: int,
    characters_per_token: int,
    max_characters: int = 100_000,
) -> tuple[list[list[int]], list[int]]:
    """Encode N texts as S id sequences of at most `max_tokens`, with the row that each belongs to.

    At least one sequence a row, rows in order. When truncating, at most max_tokens * characters_per_token
    characters of a text reach the tokenizer (a `tokenizers.Tokenizer`); in windows, at most `max_characters`.
    """
    reading = Reading(max_tokens, long_text, stride, characters_per_token)
    sequences, owner = encode(tokenizer, [text[:max_characters] for text in texts], reading)
    return sequences, owner.tolist()


def readable(text: str) -> str:
    """The text without lone surrogates (a tokenizer refuses them) and endless marks (NFC stalls on them)."""
    if text.isascii():
        return text
    return _NOT_WORDS.sub(_shorten, _SURROGATE.sub("", text))


def _shorten(run: re.Match[str]) -> str:
    import unicodedata

    kept, marks = [], 0
    for character in run.group():
        marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
        if marks <= _LONGEST_RUN:
            kept.append(character)
    return "".join(kept)
