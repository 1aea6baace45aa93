"""Texts go into another language and come back in other words (Sennrich et al. 2016, arXiv 1511.06709).

As augmentation: UDA (Xie et al. 2020, arXiv 1904.12848), which draws words at a temperature for copies that differ
more. Translating is by far the slowest way, so whatever came back is kept on disk: a killed run goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tutelage.artifacts.answers import Answers
from tutelage.artifacts.corpus import content_key
from tutelage.augment.given import Given, Luck, luck
from tutelage.augment.translator import Translators
from tutelage.progress import Progress

_WAY = "back-translate"
# Copies that are translated and kept at once: what a kill can lose.
_AT_ONCE = 128


def copies(texts: Sequence[str], lucks: Sequence[Luck], given: Given) -> list[str]:
    """What came back of each text (N); the text itself where nothing sound did."""
    return [given.translated.get(_name(luck)) or text for text, luck in zip(texts, lucks, strict=True)]


def of_texts(
    texts: Sequence[str], translators: Translators, *, copies: int, seed: int, progress: Progress
) -> dict[bytes, str]:
    """What comes back of texts, by the luck of each copy; empty where a model broke off or the text is too long.

    Nothing that the folder of the translators holds already is translated again.
    """
    kept = Answers.open(translators.folder)
    # Shortest first, so that texts of much the same length share a batch; the same batches whatever is kept already.
    turns = sorted(
        ((text, number) for text in dict.fromkeys(texts) for number in range(copies)),
        key=lambda turn: (len(turn[0]), turn),
    )
    found: dict[bytes, str] = {}
    with progress.bar("Translating there and back", len(turns)) as bar:
        for some in _blocks(turns):
            keys = [_key(text, seed, number, drawn=translators.draws) for text, number in some]
            if any(key not in kept for key in keys):
                made = _returned(some, translators, seed)
                kept.add(dict(zip(keys, made, strict=True)))
            for (text, number), key in zip(some, keys, strict=True):
                found[_name(luck(text, seed, _WAY, number))] = str(kept[key])
            bar.advance(len(some))
    return found


def _returned(some: Sequence[tuple[str, int]], translators: Translators, seed: int) -> list[str]:
    texts = [text for text, _ in some]
    sides = [[luck(text, seed, _WAY, number, side) for text, number in some] for side in ("there", "back")]
    there = translators.there.translate(texts, sides[0], translators.temperature)
    return translators.back.translate(there, sides[1], translators.temperature)


def _key(text: str, seed: int, number: int, *, drawn: bool) -> str:
    """What a copy follows from: without any luck, the text alone."""
    return content_key(repr((text, seed, number)) if drawn else text).hex()


def _name(luck: Luck) -> bytes:
    return luck.bytes(16)


def _blocks(turns: Sequence[tuple[str, int]]) -> Iterator[Sequence[tuple[str, int]]]:
    for begin in range(0, len(turns), _AT_ONCE):
        yield turns[begin : begin + _AT_ONCE]
