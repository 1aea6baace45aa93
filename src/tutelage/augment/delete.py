"""Words are left out (Wei and Zou 2019, "EDA", arXiv 1901.11196)."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.augment import words
from tutelage.augment.given import Given, Luck


def copies(texts: Sequence[str], lucks: Sequence[Luck], given: Given) -> list[str]:
    """One copy of each text (N), without so many words as `given.rate` says; one word always stays."""
    return [_shortened(text, luck, given.rate) for text, luck in zip(texts, lucks, strict=True)]


def _shortened(text: str, luck: Luck, rate: float) -> str:
    places = words.spans(text)
    if len(places) < 2:
        return text
    gone = luck.choice(len(places), words.changes(rate, len(places) - 1), replace=False)
    chosen = [_with_space(text, *places[number]) for number in sorted(gone.tolist())]
    return words.written(text, chosen, [""] * len(chosen)).strip()


def _with_space(text: str, begin: int, end: int) -> words.Span:
    """A word and the space behind it, so that no two spaces meet."""
    return (begin, end + 1) if text[end : end + 1].isspace() and not text[begin - 1 : begin].strip() else (begin, end)
