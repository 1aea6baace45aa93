"""The normalisation every text goes through, in training and in a bundle alike. Standard library only."""

from __future__ import annotations

import html
import re
import unicodedata
from html.entities import html5

_SPACE = re.compile(r"\s+")
# Control and format characters carry no meaning for a reader; the joiners shape words in many scripts and emoji.
_KEPT_FORMAT = {"\u200c", "\u200d"}


# UAX #15, Stream-Safe Text Format: no script stacks more than 30 marks on one letter. Python's NFC takes
# quadratic time over such a run (40,000 marks: 1.2 s), holding the interpreter all the while.
_LONGEST_RUN = 30
# Marks are no word characters, so a long run of them is a run of this; letters and ASCII end it.
_NOT_WORDS = re.compile(rf"[^\w\s\x00-\u02ff]{{{_LONGEST_RUN + 1},}}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# With its semicolon: "AT&T" and "R&copyright" are no entities.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[0-9A-Za-z]{2,31});")
_ESCAPED = 4


# Thai and Lao, Myanmar, Khmer, kana, Han and its compatibility forms and extensions: no spaces between words.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_CHARACTERS_PER_TOKEN = 4.5  # of English; of scripts without spaces, hardly more than one


def tokens_about(text: str) -> int:
    """How many tokens a text will come to, before there is a tokenizer."""
    alone = 0 if text.isascii() else len(UNSPACED.findall(text))
    return round(alone + (len(text) - alone) / _CHARACTERS_PER_TOKEN)


def readable(text: str) -> str:
    """The text without lone surrogates (a tokenizer refuses them) and endless marks (composition stalls on them)."""
    if text.isascii():
        return text
    return _calm(_SURROGATE.sub("", text))


def normalise(text: str) -> str:
    """Canonical composition (NFC), any run of white space as one space, no control characters. Idempotent, for all
    that was not escaped more than four times.

    HTML entities (`&amp;`, `&#39;`) become what they stand for, unless the text holds a `<` and may be HTML itself.
    NFC and not NFKC: a superscript or a full-width form may be what the label depends on.
    """
    found = _composed(text)
    if "&" not in found or "<" in found:
        return found
    # A page that was escaped twice holds `&amp;amp;`; more often than this, nobody escapes by accident.
    for _ in range(_ESCAPED):
        plain = _ENTITY.sub(_stands_for, found)
        if plain == found:
            break
        found = _composed(plain)
    return found


def _composed(text: str) -> str:
    if text.isascii() and text.isprintable():
        return _SPACE.sub(" ", text).strip()
    spaced = _SPACE.sub(" ", _SURROGATE.sub("", text))
    kept = "".join(c for c in spaced if c in _KEPT_FORMAT or unicodedata.category(c) not in ("Cc", "Cf"))
    # Once what stood between marks is gone; and again, for some characters are composed as two marks.
    return _SPACE.sub(" ", _calm(unicodedata.normalize("NFC", _calm(kept)))).strip()


def _stands_for(entity: re.Match[str]) -> str:
    whole = entity.group()
    # Asked for a name that there is not, `unescape` takes one that it begins with.
    return html.unescape(whole) if whole[1] == "#" or whole[1:] in html5 else whole


def _calm(text: str) -> str:
    return _NOT_WORDS.sub(_shorten, text)


def _shorten(run: re.Match[str]) -> str:
    kept, marks = [], 0
    for character in run.group():
        marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
        if marks <= _LONGEST_RUN:
            kept.append(character)
    return "".join(kept)
