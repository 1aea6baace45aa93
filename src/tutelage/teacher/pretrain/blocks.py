"""The texts as tokens on the disk, packed one behind the other: no padding, and never more in memory than is read.

A file holds 4 bytes a token: its id, and in the highest bit whether it continues the word of the token before. Every
text ends with the tokenizer's end token.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]

_CONTINUES = np.uint32(1 << 31)
# Texts are encoded together until they have so many characters: what bounds the memory however long they are.
_AT_ONCE = 1 << 19
_LONGEST = 1 << 16
"""Characters of a text that are encoded as one; a longer one is cut at a space, for a tokenizer takes ever longer."""


class Written(NamedTuple):
    """How much went into a file."""

    tokens: int
    """End tokens included."""
    bytes: int
    """Of the texts, as UTF-8."""


@dataclass(frozen=True)
class Blocks:
    """The tokens of a file in pieces of one size; what is left over at the end is not used."""

    flat: NDArray[np.uint32]
    size: int

    @classmethod
    def open(cls, file: Path, size: int) -> Blocks:
        """Map a file that a `Writer` made."""
        empty = file.stat().st_size == 0  # nothing can be mapped of an empty file
        return cls(np.empty(0, np.uint32) if empty else np.memmap(file, dtype=np.uint32, mode="r"), size)

    def __len__(self) -> int:
        return len(self.flat) // self.size

    def take(self, block: int) -> tuple[Ids, Flags]:
        """Ids (size,), and whether each token begins a word (size,)."""
        raw = np.asarray(self.flat[block * self.size : (block + 1) * self.size])
        return (raw & ~_CONTINUES).astype(np.int64), raw < _CONTINUES


class Writer:
    """Encodes texts with a fast tokenizer of `transformers` and writes them to a file, one behind the other."""

    def __init__(self, file: Path, tokenizer: Any, end: int) -> None:
        # A copy: the model is saved with the tokenizer as it came.
        self._backend, self._end = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), end
        self._backend.no_truncation()
        self._backend.no_padding()
        # What a text says is text, "[SEP]" too.
        self._backend.encode_special_tokens = True
        self._out = file.open("wb")
        self._waiting: list[str] = []
        self._characters = 0
        self._tokens, self._bytes = 0, 0

    def add(self, text: str) -> None:
        """One more text."""
        self._waiting.append(text)
        self._characters += len(text)
        if self._characters >= _AT_ONCE:
            self._write()

    def close(self) -> Written:
        """Write what is waiting; says how much went in altogether."""
        self._write()
        self._out.close()
        return Written(self._tokens, self._bytes)

    def _write(self) -> None:
        self._bytes += sum(len(text.encode()) for text in self._waiting)
        pieces = [(number, piece) for number, text in enumerate(self._waiting) for piece in _pieces(text)]
        encodings = self._backend.encode_batch([piece for _, piece in pieces], add_special_tokens=False)
        for place, encoding in enumerate(encodings):
            last = place + 1 == len(pieces) or pieces[place + 1][0] != pieces[place][0]
            values = _packed(encoding, self._end if last else None)
            values.tofile(self._out)
            self._tokens += len(values)
        self._waiting, self._characters = [], 0


def _packed(encoding: Any, end: int | None) -> NDArray[np.uint32]:
    ids = np.asarray(encoding.ids, dtype=np.uint32)
    words = np.asarray([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
    inside = np.zeros(len(ids), dtype=bool)
    inside[1:] = (words[1:] == words[:-1]) & (words[1:] >= 0)
    ids = np.where(inside, ids | _CONTINUES, ids)
    return ids if end is None else np.append(ids, np.uint32(end))


def _pieces(text: str) -> Iterator[str]:
    while len(text) > _LONGEST:
        cut = text.rfind(" ", 1, _LONGEST)
        cut = cut if cut > 0 else _LONGEST
        yield text[:cut]
        text = text[cut:]
    yield text
