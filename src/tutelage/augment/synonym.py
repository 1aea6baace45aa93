"""Words give way to words of much the same meaning, by the teacher's own embeddings.

The ways of TinyBERT (Jiao et al. 2020, arXiv 1909.10351) and EDA (Wei and Zou 2019, arXiv 1901.11196) look words up in
GloVe and WordNet; every teacher brings a table of its own, in its own language. Such neighbours also have the opposite
meaning at times ("good", "bad"), which is why copies are shown to the teacher.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.augment import words
from tutelage.augment.given import Given, Luck


def copies(texts: Sequence[str], lucks: Sequence[Luck], given: Given) -> list[str]:
    """One copy of each text (N), with so many other words from `given.near` as `given.rate` says."""
    return [_reworded(text, luck, given) for text, luck in zip(texts, lucks, strict=True)]


def _reworded(text: str, luck: Luck, given: Given) -> str:
    places = words.spans(text)
    known = [place for place in places if given.near.get(text[slice(*place)])]
    if not known:
        return text
    count = min(words.changes(given.rate, len(places)), len(known))
    chosen = [known[number] for number in sorted(luck.choice(len(known), count, replace=False).tolist())]
    found = [given.near[text[slice(*place)]] for place in chosen]
    return words.written(text, chosen, [others[int(luck.integers(len(others)))] for others in found])
