"""What every way of changing texts is given, and its luck."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tutelage.augment.mask import Masked
    from tutelage.augment.translator import Translators

Luck = np.random.Generator


@dataclass(frozen=True)
class Given:
    """What some ways need beside the texts."""

    rate: float
    """The share of a text's words that is changed; one at least."""
    near: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Words that mean much the same, by word: see `neighbours`."""
    others: Sequence[str] = ()
    """Texts whose second halves may follow the first half of another."""
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
