"""The normalisation every text goes through, in training and in a bundle alike. Standard library only."""

from __future__ import annotations

import re
import unicodedata

_SPACE = re.compile(r"\s+")
# Control and format characters carry no meaning for a reader; the joiners shape words in many scripts and emoji.
_KEPT_FORMAT = {"\u200c", "\u200d"}


# UAX #15, Stream-Safe Text Format: no script stacks more than 30 marks on one letter. Python's NFC takes
# quadratic time over such a run (40,000 marks: 1.2 s), holding the interpreter all the while.
_LONGEST_RUN = 30
# Marks are no word characters, so a long run of them is a run of this; letters and ASCII end it.
_NOT_WORDS = re.compile(rf"[^\w\s\x00-\u02ff]{{{_LONGEST_RUN + 1},}}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def readable(text: str) -> str:
    """The text without lone surrogates (a tokenizer refuses them) and endless marks (composition stalls on them)."""
    if text.isascii():
        return text
    return _NOT_WORDS.sub(_shorten, _SURROGATE.sub("", text))


def normalise(text: str) -> str:
    """Canonical composition (NFC), any run of white space as one space, no control characters. Idempotent.

    NFC and not NFKC: a superscript or a full-width form may be what the label depends on.
    """
    if text.isascii() and text.isprintable():
        return _SPACE.sub(" ", text).strip()
    spaced = _SPACE.sub(" ", readable(text))
    kept = "".join(c for c in spaced if c in _KEPT_FORMAT or unicodedata.category(c) not in ("Cc", "Cf"))
    return _SPACE.sub(" ", unicodedata.normalize("NFC", kept)).strip()


def _shorten(run: re.Match[str]) -> str:
    kept, marks = [], 0
    for character in run.group():
        marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
        if marks <= _LONGEST_RUN:
            kept.append(character)
    return "".join(kept)
