"""Words are hidden, and a masked language model says what could stand there (Jiao et al. 2020, TinyBERT, 1909.10351).

Whole words of one token only, so that what is put in is a word too. The model sees all gaps of a text at once and its
own word at none of them; one of the words that it thinks most likely is drawn, the original excepted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from tutelage.artifacts.batch import by_length
from tutelage.artifacts.network import quiet
from tutelage.artifacts.positions import most_tokens
from tutelage.augment import vocabulary, words
from tutelage.augment.given import Given, Luck
from tutelage.errors import ModelError

# TinyBERT draws from 15; in looser texts than its large model fills well, fewer are safer.
_LIKELIEST = 10
_AT_ONCE = 2048  # tokens, padded; the model has a score of every word for each: 2 GB of a vocabulary of 250,000


Gap = tuple[words.Span, int]
"""Where a word is, and which token."""


@dataclass(frozen=True)
class Masked:
    """A masked language model and its tokenizer."""

    model: Any
    tokenizer: Any
    length: int
    """Tokens that it reads at most, special ones included."""

    @cached_property
    def words(self) -> dict[int, str]:
        """Every token that is a word of its own, and its spelling."""
        return vocabulary.whole_words(self.tokenizer)

    @classmethod
    def load(cls, place: str, *, local: bool, length: int, key: str = "student.augment.masked_model") -> Masked:
        """From a folder as `save_pretrained` writes it, or a hub id; `key` of the recipe names it.

        Raises `ModelError` when it is no masked language model, or has no tokenizer that knows where words are.
        """
        import transformers

        quiet()
        try:
            config = transformers.AutoConfig.from_pretrained(place, local_files_only=local)
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, local_files_only=local)
            named = any("MaskedLM" in str(name) for name in config.architectures or [])
            if not named or tokenizer.mask_token_id is None or not tokenizer.is_fast:
                raise ModelError(
                    f"{place} cannot fill gaps: it was saved as {', '.join(config.architectures or ['nothing named'])}"
                    f"{'' if tokenizer.mask_token_id is not None else ', without a mask token'}",
                    expected="a masked language model with its head, its mask token and a fast tokenizer",
                    cure=f"give the folder of one as `{key}`; `tutelage pretrain` with `objective: masked` makes one",
                )
            model = transformers.AutoModelForMaskedLM.from_pretrained(
                place, local_files_only=local, dtype=torch.float32
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"the masked model {place} cannot be loaded: {str(error).strip().splitlines()[0]}",
                expected="config.json, weights as safetensors, and a tokenizer",
                cure=f"check `{key}`",
            ) from error
        most = most_tokens(config) or length
        return cls(model.eval(), tokenizer, min(length, most))


def copies(texts: Sequence[str], lucks: Sequence[Luck], given: Given) -> list[str]:
    """One copy of each text (N), with so many words as `given.rate` says drawn from `given.masked`."""
    assert given.masked is not None
    found = list(texts)
    masked = given.masked
    read = masked.tokenizer(list(texts), return_offsets_mapping=True, truncation=True, max_length=masked.length)
    ids, offsets = read["input_ids"], read["offset_mapping"]
    gaps = [_gaps(*one, given.rate) for one in zip(texts, offsets, lucks, strict=True)]
    for rows in by_length(np.array([len(one) for one in ids]), tokens=_AT_ONCE):
        some = [(texts[row], lucks[row], ids[row], gaps[row]) for row in rows]
        filled = _filled(some, masked)
        for row, text in zip(rows, filled, strict=True):
            found[row] = text
    return found


def _filled(some: Sequence[tuple[str, Luck, list[int], list[Gap]]], masked: Masked) -> list[str]:
    """Texts with other words in their gaps; each text comes with its luck and its tokens."""
    texts, lucks, ids, gaps = zip(*some, strict=True)
    read = masked.tokenizer.pad({"input_ids": list(ids)}, padding_side="right", return_tensors="pt")
    owner = torch.tensor([row for row, mine in enumerate(gaps) for _ in mine], dtype=torch.long)
    place = torch.tensor([token for mine in gaps for _, token in mine], dtype=torch.long)
    read["input_ids"][owner, place] = masked.tokenizer.mask_token_id
    with torch.inference_mode():
        logits = masked.model(**read).logits[owner, place]
    spelled = list(masked.words.values())
    likely = logits[:, list(masked.words)].topk(min(_LIKELIEST + 1, len(spelled)), dim=1).indices.tolist()
    found, line = [], 0
    for text, luck, mine in zip(texts, lucks, gaps, strict=True):
        places = [span for span, _ in mine]
        drawn = [
            _drawn(text[slice(*span)], [spelled[n] for n in likely[line + k]], luck) for k, span in enumerate(places)
        ]
        line += len(mine)
        found.append(words.written(text, places, drawn))
    return found


def _gaps(text: str, offsets: Sequence[Sequence[int]], luck: Luck, rate: float) -> list[Gap]:
    """Which words become gaps, in order, and the token of each."""
    # Some tokenizers count the space before a word as its own, and give every byte of a character the whole of it.
    bare = [(end - len(text[begin:end].lstrip()), end) for begin, end in offsets]
    often = Counter(bare)
    token = {span: number for number, span in enumerate(bare) if often[span] == 1}
    places = words.spans(text)
    whole = [place for place in places if place in token and words.is_letters(text[slice(*place)])]
    count = min(words.changes(rate, len(places)), len(whole))
    chosen = sorted(luck.choice(len(whole), count, replace=False).tolist()) if count else []
    return [(whole[number], token[whole[number]]) for number in chosen]


def _drawn(word: str, likely: Sequence[str], luck: Luck) -> str:
    others = [words.spelled_as(word, other) for other in likely if other.casefold() != word.casefold()][:_LIKELIEST]
    return others[int(luck.integers(len(others)))] if others else word
