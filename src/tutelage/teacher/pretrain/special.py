"""Tokens that stand for no text: which a tokenizer has, and which an objective needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tutelage.errors import ModelError

SENTINELS = 100
"""As many as T5 has (arXiv 1910.10683): more than the spans of a sequence of a thousand tokens."""
ENCODER = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
DECODER = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<end>", "eos_token": "<end>"}
ENCODER_DECODER = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
NAMES = {"encoder": ENCODER, "decoder": DECODER, "encoder-decoder": ENCODER_DECODER}


def sentinel(number: int) -> str:
    """The token that stands for the span of this number, as T5 writes it."""
    return f"<extra_id_{number}>"


@dataclass(frozen=True)
class Special:
    """Ids of a tokenizer's special tokens; None where it has none."""

    first: int | None
    """In front of a sequence."""
    end: int
    """Behind every text, and behind a sequence."""
    mask: int | None
    sentinels: tuple[int, ...]
    every: frozenset[int]
    """All of them: none is ever hidden, and none takes the place of a word."""


def special_of(tokenizer: Any) -> Special:
    """What a fast tokenizer of `transformers` has. Raises `ModelError` when it cannot say where a text ends."""
    end = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    if end is None:
        raise ModelError(
            "the tokenizer has no token that ends a text",
            expected="a separator or an end token, to put texts behind each other",
            cure="choose another `model.checkpoint`, or set `sep_token` or `eos_token` in its tokenizer",
        )
    known = tokenizer.get_vocab()
    sentinels = [known[name] for name in map(sentinel, range(SENTINELS)) if name in known]
    first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    return Special(
        first, int(end), tokenizer.mask_token_id, tuple(sentinels), frozenset([*tokenizer.all_special_ids, *sentinels])
    )
