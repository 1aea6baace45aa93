"""Neighbouring words change places (Wei and Zou 2019, "EDA", arXiv 1901.11196, but only with a neighbour)."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.augment import words
from tutelage.augment.given import Given, Luck


def copies(texts: Sequence[str], lucks: Sequence[Luck], given: Given) -> list[str]:
    """One copy of each text (N), with so many swaps as `given.rate` says of its words."""
    return [_swapped(text, luck, given.rate) for text, luck in zip(texts, lucks, strict=True)]


def _swapped(text: str, luck: Luck, rate: float) -> str:
    places = words.spans(text)
    if len(places) < 2:
        return text
    order = list(range(len(places)))
    for place in luck.choice(len(places) - 1, words.changes(rate, len(places) - 1), replace=False).tolist():
        order[place], order[place + 1] = order[place + 1], order[place]
    return words.written(text, places, [text[slice(*places[number])] for number in order])
