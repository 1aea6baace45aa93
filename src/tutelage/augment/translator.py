"""Models that translate: any sequence-to-sequence model of `transformers` that was saved with its head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tutelage.artifacts.batch import by_length
from tutelage.artifacts.network import TOKENS_AT_ONCE, quiet
from tutelage.augment.given import Luck
from tutelage.errors import ModelError

# Tokens of an answer: twice those of the question, and some. What needs more has lost itself.
_TWICE, _MORE = 2, 16
# Words are drawn from so many, as `transformers` does unless told otherwise: the tail of a distribution is noise.
_LIKELIEST = 50
_LONGEST = 512


@dataclass(frozen=True)
class Translator:
    """One direction."""

    place: str
    local: bool
    tokenizer: Any
    prefix: str
    length: int
    """Tokens that it reads at most, special ones included."""

    @classmethod
    def look(cls, place: str, *, local: bool, prefix: str, key: str) -> Translator:
        """From a folder as `save_pretrained` writes it, or a hub id; weights are read when they are needed.

        Raises `ModelError` when it is no sequence-to-sequence model with a head, or its tokenizer is another model's.
        `key` of the recipe names it.
        """
        import transformers

        quiet()
        try:
            config = transformers.AutoConfig.from_pretrained(place, local_files_only=local)
            if not _has_head(config):
                raise _no_translator(
                    place, f"it was saved as {', '.join(config.architectures or ['nothing named'])}", key
                )
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, local_files_only=local)
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(
                f"the translator {place} cannot be loaded: {reason}",
                expected="config.json, weights as safetensors, and a tokenizer",
                cure=f"check `{key}`; tokenizers of Marian models need the package sentencepiece",
            ) from error
        if problem := _misfit(config, tokenizer):
            raise _no_translator(place, problem, key)
        most = getattr(config, "max_position_embeddings", None) or _LONGEST
        return cls(place, local, tokenizer, prefix, min(most, tokenizer.model_max_length))

    @cached_property
    def model(self) -> Any:
        """In single precision."""
        import transformers

        quiet()
        auto = transformers.AutoModelForSeq2SeqLM
        return auto.from_pretrained(self.place, local_files_only=self.local, dtype=torch.float32).eval()

    def translate(self, texts: Sequence[str], lucks: Sequence[Luck], temperature: float | None) -> list[str]:
        """What each text (N) is in the other language; empty where the model reads or writes no end of it.

        Each word is the likeliest one; with a temperature, drawn by the text's own luck (N), whatever else is in the
        batch.
        """
        read = self.tokenizer([self.prefix + text for text in texts], truncation=False)["input_ids"]
        lengths = np.array([len(ids) for ids in read])
        found = [""] * len(texts)
        fit = np.flatnonzero((lengths <= self.length) & np.array([bool(text.strip()) for text in texts]))
        for rows in by_length(lengths[fit], tokens=TOKENS_AT_ONCE):
            mine = fit[rows]
            drawn = None if temperature is None else _Drawn([lucks[row] for row in mine], temperature)
            for row, text in zip(mine.tolist(), self._written([read[row] for row in mine], drawn), strict=True):
                found[row] = text
        return found

    def _written(self, read: list[list[int]], drawn: _Drawn | None) -> list[str]:
        import transformers

        batch = self.tokenizer.pad({"input_ids": read}, return_tensors="pt")
        width = int(batch["input_ids"].shape[1])
        most = min(_TWICE * width + _MORE, self.length - 1)
        processors = transformers.LogitsProcessorList([drawn] if drawn else [])
        with torch.inference_mode():
            said = self.model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=most,
                num_beams=1,
                do_sample=False,
                logits_processor=processors,
            )
        ends = _ids(self.model.generation_config.eos_token_id) or _ids(self.tokenizer.eos_token_id)
        texts = self.tokenizer.batch_decode(said, skip_special_tokens=True)
        # Some models end at the limit because they must. The first token only starts the decoder.
        sound = [any(token in ends for token in row[1:most]) for row in said.tolist()]
        return [text.strip() if fine else "" for text, fine in zip(texts, sound, strict=True)]


@dataclass(frozen=True)
class Translators:
    """Both directions, and where what came back is kept."""

    there: Translator
    back: Translator
    temperature: float | None
    folder: Path
    """Of these models and this temperature alone."""

    @property
    def draws(self) -> bool:
        """Whether luck has a part in what comes back."""
        return self.temperature is not None


class _Drawn:
    """The largest of scores / temperature + Gumbel noise is a draw from their softmax, each row by its own luck."""

    def __init__(self, lucks: Sequence[Luck], temperature: float) -> None:
        self._lucks, self._temperature = lucks, temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (B, V) of the next token -> scores whose largest is the one drawn."""
        del input_ids
        likely = scores.topk(min(_LIKELIEST, scores.shape[1]), dim=1)
        noise = np.stack([luck.gumbel(size=likely.values.shape[1]) for luck in self._lucks])
        values = likely.values / self._temperature + torch.from_numpy(noise).to(likely.values)
        return torch.full_like(scores, -torch.inf).scatter(1, likely.indices, values)


def _has_head(config: Any) -> bool:
    from transformers.models.auto import modeling_auto

    known = {
        name
        for names in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values()
        for name in ([names] if isinstance(names, str) else names)
    }
    return any(str(name) in known for name in config.architectures or [])


def _misfit(config: Any, tokenizer: Any) -> str:
    """Why a tokenizer cannot be this model's, or nothing."""
    size = int(config.vocab_size)
    if len(tokenizer) > size:
        return f"its tokenizer has {len(tokenizer):,} tokens, and the model {size:,}"
    for name in ("pad", "eos"):
        theirs, ours = _ids(getattr(tokenizer, f"{name}_token_id")), _ids(getattr(config, f"{name}_token_id", None))
        if not theirs:
            return f"its tokenizer has no {name} token"
        if ours and not theirs <= ours:
            return f"its tokenizer's {name} token is number {min(theirs)}, and the model's {min(ours)}"
    return ""


def _ids(value: Any) -> set[int]:
    if value is None:
        return set()
    return {int(one) for one in value} if isinstance(value, list | tuple) else {int(value)}


def _no_translator(place: str, reason: str, key: str) -> ModelError:
    return ModelError(
        f"{place} cannot translate: {reason}",
        expected="a sequence-to-sequence model with its head, such as MarianMT or T5, and its own tokenizer",
        cure=f"give the folder of one as `{key}`",
    )
