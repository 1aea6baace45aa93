"""The words of a text, as places in it: whatever is not a word stays where it is.

Some scripts put no spaces between words. There every character, with the marks on it, counts as a word: nothing but a
dictionary could tell more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from tutelage.text import UNSPACED

Span = tuple[int, int]

_RUN = re.compile(r"\S+")
# Khmer and Myanmar: the letter behind is written below the one in front.
_SUBJOINS = "\u17d2\u1039"


def spans(text: str) -> list[Span]:
    """Where each word begins and ends, in order, without the punctuation around it."""
    found: list[Span] = []
    for run in _RUN.finditer(text):
        begin, end = _trimmed(text, *run.span())
        if UNSPACED.search(text, begin, end):
            found += _characters(text, begin, end)
        elif begin < end:
            found.append((begin, end))
    return found


def written(text: str, places: Sequence[Span], words: Sequence[str]) -> str:
    """The text with other words at some places, which are in order."""
    pieces, last = [], 0
    for (begin, end), word in zip(places, words, strict=True):
        pieces += [text[last:begin], word]
        last = end
    return "".join([*pieces, text[last:]])


def changes(rate: float, words: int) -> int:
    """How many of some words a rate changes: one at least, if there are any."""
    return min(max(round(rate * words), 1), words)


def is_letters(word: str) -> bool:
    """Whether a word is made of letters and their marks alone: no digits, nothing from outside of writing."""
    return bool(word) and all(character.isalpha() or _is_mark(character) for character in word)


def spelled_as(word: str, other: str) -> str:
    """Another word, begun with a capital or all in capitals where the first is; if it has small letters alone."""
    if not other.islower() or not word[:1].isupper():
        return other
    return other.upper() if len(word) > 1 and word.isupper() else other[:1].upper() + other[1:]


def is_unspaced(text: str) -> bool:
    """Whether any character is of a script without spaces."""
    return bool(UNSPACED.search(text))


def _trimmed(text: str, begin: int, end: int) -> Span:
    # A mark in front stands on something that is no word, such as the sign that makes a heart red.
    while begin < end and not text[begin].isalnum():
        begin += 1
    while begin < end and not _belongs(text[end - 1]):
        end -= 1
    return begin, end


def _characters(text: str, begin: int, end: int) -> list[Span]:
    """Every character of an unspaced script by itself, everything else in runs; marks go with what they are on."""
    found: list[Span] = []
    run = False  # whether the last word is one that further letters continue
    for place in range(begin, end):
        character = text[place]
        if not _belongs(character):
            run = False
            continue
        touches = bool(found) and found[-1][1] == place
        if _is_mark(character) and not touches:
            run = False
        elif touches and (
            _is_mark(character) or text[place - 1] in _SUBJOINS or (run and not UNSPACED.match(character))
        ):
            found[-1] = (found[-1][0], place + 1)
        else:
            found.append((place, place + 1))
            run = not UNSPACED.match(character)
    return found


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _belongs(character: str) -> bool:
    return character.isalnum() or _is_mark(character)
