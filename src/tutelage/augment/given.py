"""What every way of changing texts is given, and its luck."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tutelage.artifacts.corpus import content_key

if TYPE_CHECKING:
    from tutelage.augment.mask import Masked
    from tutelage.augment.translator import Translators

Luck = np.random.Generator


@dataclass(frozen=True)
class Pool:
    """Texts that may lend each other their halves."""

    texts: Sequence[str]

    @cached_property
    def keys(self) -> list[bytes]:
        """By their content, in order: a few texts more or less leave nearly every pair as it was."""
        return sorted(self._ends)

    def at(self, place: int) -> str:
        """The text of a key, counted round."""
        return self._ends[self.keys[place % len(self.keys)]]

    @cached_property
    def _ends(self) -> dict[bytes, str]:
        return {content_key(text): text for text in self.texts}


@dataclass(frozen=True)
class Given:
    """What some ways need beside the texts."""

    rate: float
    """The share of a text's words that is changed; one at least."""
    near: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Words that mean much the same, by word: see `neighbours`."""
    others: Pool = field(default_factory=lambda: Pool(()))
    """Whose second halves may follow the first half of another."""
    masked: Masked | None = None
    """A model that fills gaps."""
    translated: Mapping[bytes, str] = field(default_factory=dict)
    """What came back from another language, by the luck of each copy: see `back_translate`."""


@dataclass(frozen=True)
class Tools:
    """Models that some ways need, where a recipe names them."""

    masked: Masked | None = None
    translators: Translators | None = None


def luck(text: str, *facts: object) -> Luck:
    """Random numbers that follow from a text and some facts alone: more rows do not change the copies of others."""
    digest = hashlib.blake2b(repr((text, facts)).encode(errors="surrogatepass"), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
