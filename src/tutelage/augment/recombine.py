"""The first half of a text with the second half of another.

Only a teacher can say what that means, so that texts of any two labels go together. Texts of one sentence are cut
between clauses, or else between words.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Sequence

from tutelage.augment import words
from tutelage.augment.given import Given, Luck, Pool

# Where a text may be cut, the best first: behind sentences, behind clauses. Those in the outer quarters are no halves.
_CUTS = (
    re.compile(r"[.!?…]+[\"'”’)\]]*\s+|[。！？]+[」』”’）]*"),
    re.compile(r"[,;:)—–]\s+|\s[-—–]+\s|[、，；：]"),
)
_OUTER = 0.25


def copies(texts: Sequence[str], lucks: Sequence[Luck], given: Given) -> list[str]:
    """One copy of each text (N) that ends as one of `given.others` does; with no other, the text itself."""
    return [_joined(text, luck, given.others) for text, luck in zip(texts, lucks, strict=True)]


def _joined(text: str, luck: Luck, others: Pool) -> str:
    if len(others.keys) < 2:
        return text
    place = bisect(others.keys, luck.bytes(16))
    other = others.at(place)
    if other == text:
        other = others.at(place + 1)
    begin, end = text[: cut(text)].rstrip(), other[cut(other) :].lstrip()
    between = "" if words.is_unspaced(begin[-1:] + end[:1]) else " "
    return f"{begin}{between}{end}" if begin and end else text


def cut(text: str) -> int:
    """Where the second half of a text begins."""
    middle = len(text) / 2
    for kind in _CUTS:
        ends = [found.end() for found in kind.finditer(text)]
        inner = [end for end in ends if _OUTER <= end / len(text) <= 1 - _OUTER]
        if inner:
            return min(inner, key=lambda end: abs(end - middle))
    starts = [begin for begin, _ in words.spans(text)][1:]
    return min(starts, key=lambda begin: abs(begin - middle), default=0)
