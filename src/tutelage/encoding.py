"""Text to token ids: the one place, shared by training and by bundles, so that both read alike. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reading:
    """How a text is read."""

    max_tokens: int = 256
    """Longest sequence, special tokens included."""
    long_text: Literal["truncate", "window"] = "truncate"
    stride: int = 64
    """Tokens that neighbouring windows share."""
    characters_per_token: int = 16
    """When truncating, characters beyond max_tokens times this never reach the tokenizer: its time is unbounded
    otherwise (2 MB of "!" took 10 s for 512 tokens)."""
    plain: bool = False
    """Whether a text itself has none of the tokens that are put around it: heads that read its end must find one."""


def reading(max_tokens: int, long_text: Literal["truncate", "window"]) -> Reading:
    """How a recipe's texts are read: windows share a quarter of their tokens, at most 64."""
    return Reading(max_tokens, long_text, stride=min(Reading.stride, max_tokens // 4))


def encode(tokenizer: Any, texts: Sequence[str], reading: Reading) -> tuple[list[list[int]], NDArray[np.int64]]:
    """Encode N texts with a `tokenizers.Tokenizer` as S id sequences of at most `max_tokens`.

    Returns the sequences and the row (S,) each belongs to: rows in order, at least one sequence a row; more only when
    long texts are read in windows.
    """
    windows = reading.long_text == "window"
    _prepare(tokenizer, reading)
    most = reading.max_tokens * reading.characters_per_token
    given = list(texts) if windows else [text[:most] for text in texts]
    sequences: list[list[int]] = []
    # "Fast": without the places of tokens in the text, which nobody asks for.
    owner: list[int] = []
    for row, encoding in enumerate(tokenizer.encode_batch_fast(given)):
        parts = [encoding, *encoding.overflowing] if windows else [encoding]
        # A tokenizer without special tokens makes nothing of an empty text; a model needs one token to read.
        sequences += [
            (plain(part.ids, part.special_tokens_mask) if reading.plain else part.ids) or [0] for part in parts
        ]
        owner += [row] * len(parts)
    return sequences, np.asarray(owner, dtype=np.int64)


def plain(ids: Sequence[int], around: Sequence[int]) -> list[int]:
    """Ids without what a text itself says of the tokens that were put `around` it (1, else 0): "</s>", spelled out."""
    put = {token for token, special in zip(ids, around, strict=True) if special}
    return [token for token, special in zip(ids, around, strict=True) if special or token not in put]


def _prepare(tokenizer: Any, reading: Reading) -> None:
    """Set truncation, and no padding, on a tokenizer that may have come with other settings."""
    special = tokenizer.num_special_tokens_to_add(is_pair=False)
    stride = min(reading.stride, max(reading.max_tokens - special - 1, 0)) if reading.long_text == "window" else 0
    current = tokenizer.truncation
    if not current or (current["max_length"], current["stride"]) != (reading.max_tokens, stride):
        tokenizer.enable_truncation(max_length=reading.max_tokens, stride=stride)
    if tokenizer.padding:
        tokenizer.no_padding()
