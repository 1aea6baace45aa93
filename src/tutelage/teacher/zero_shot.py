"""What a text is about, by a model that knows what follows from what.

A model of natural language inference reads a text and a sentence about it ("This text is positive.") and says whether
the second follows from the first (Yin et al. 2019, arXiv 1909.00161). The softmax of the entailment scores over the
classes' sentences is what the pipeline `zero-shot-classification` of `transformers` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.artifacts.answers import Answers
from tutelage.artifacts.batch import by_length
from tutelage.artifacts.corpus import content_key
from tutelage.artifacts.network import TOKENS_AT_ONCE, quiet
from tutelage.artifacts.positions import most_tokens
from tutelage.encoding import plain
from tutelage.errors import ModelError
from tutelage.progress import Progress
from tutelage.teacher.load import ensure_padding

# Texts that are read and kept at once: what a kill can lose.
_AT_ONCE = 64
_LONGEST = 512


@dataclass(frozen=True)
class Entailment:
    """A model of natural language inference and its tokenizer."""

    model: Any
    tokenizer: Any
    entailed: int
    """The output that says so."""
    longest: int
    """Tokens that it reads at most, text and hypothesis and special ones together."""

    @classmethod
    def load(cls, place: str, *, local: bool, key: str) -> Entailment:
        """From a folder as `save_pretrained` writes it, or a hub id; `key` of the recipe names it.

        Raises `ModelError` when it has no head with a class called entailment.
        """
        import transformers

        quiet()
        auto = transformers.AutoModelForSequenceClassification
        try:
            config = transformers.AutoConfig.from_pretrained(place, local_files_only=local)
            entailed = _entailed(config, place, key)
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, local_files_only=local)
            model = auto.from_pretrained(place, local_files_only=local, dtype=torch.float32)
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(
                f"the entailment model {place} cannot be loaded: {reason}",
                expected="config.json, weights as safetensors, and a tokenizer",
                cure=f"check `{key}`",
            ) from error
        ensure_padding(model, tokenizer)
        most = most_tokens(config) or _LONGEST
        return cls(model.eval(), tokenizer, entailed, min(most, tokenizer.model_max_length))

    def probabilities(
        self, texts: Sequence[str], hypotheses: Sequence[str], answers: Answers, *, max_tokens: int, progress: Progress
    ) -> NDArray[np.float64]:
        """How probable each hypothesis (K) is for each text (N), of them alone -> (N, K), rows sum to 1.

        Of a text, `max_tokens` are read at most. What `answers` hold is not asked again.
        """
        names = [content_key(text).hex() for text in texts]
        length = min(self.longest, max_tokens + max(len(ids) for ids in self.tokenizer(list(hypotheses))["input_ids"]))
        with progress.bar("Labelling texts by entailment", len(texts)) as bar:
            for begin in range(0, len(texts), _AT_ONCE):
                some = range(begin, min(begin + _AT_ONCE, len(texts)))
                missing = {names[row]: texts[row] for row in some if names[row] not in answers}
                if missing:
                    scores = self._scores(list(missing.values()), hypotheses, length)
                    answers.add(dict(zip(missing, scores.tolist(), strict=True)))
                bar.advance(len(some))
        found = np.array([answers[name] for name in names], dtype=np.float64).reshape(len(texts), len(hypotheses))
        odds = np.exp(found - found.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def _scores(self, texts: Sequence[str], hypotheses: Sequence[str], length: int) -> NDArray[np.float64]:
        """Entailment scores (N, K)."""
        pairs = [(text, hypothesis) for text in texts for hypothesis in hypotheses]
        read = self.tokenizer(
            [text for text, _ in pairs],
            [hypothesis for _, hypothesis in pairs],
            truncation="only_first",
            max_length=length,
            return_special_tokens_mask=True,
        )
        around = read.pop("special_tokens_mask")
        if self.model.config.is_encoder_decoder:
            # Its head reads the end of a text, of which there must be as many in each.
            kept = [plain(ids, one) for ids, one in zip(read["input_ids"], around, strict=True)]
            read = {"input_ids": kept, "attention_mask": [[1] * len(ids) for ids in kept]}
        found = np.empty(len(pairs))
        for rows in by_length(np.array([len(ids) for ids in read["input_ids"]]), tokens=TOKENS_AT_ONCE):
            batch = self.tokenizer.pad({key: [read[key][row] for row in rows] for key in read}, return_tensors="pt")
            with torch.inference_mode():
                found[rows] = self.model(**batch).logits[:, self.entailed].double().numpy()
        return found.reshape(len(texts), len(hypotheses))


def _entailed(config: Any, place: str, key: str) -> int:
    headed = any(str(name).endswith("ForSequenceClassification") for name in config.architectures or [])
    places = [number for label, number in config.label2id.items() if str(label).lower().startswith("entail")]
    if headed and len(places) == 1:
        return int(places[0])
    if headed:
        reason = f"its classes are {', '.join(map(str, config.label2id))}"
    else:
        reason = f"it was saved as {', '.join(config.architectures or ['nothing named'])}"
    raise ModelError(
        f"{place} cannot say what follows from a text: {reason}",
        expected="a model of natural language inference: a classifier with a class called entailment",
        cure=f"give another as `{key}`, or name that class in the `label2id` of its config.json",
    )
