"""Fill in what was cut out: what T5 learns from (Raffel et al. 2020, arXiv 1910.10683, section 3.1.4)."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tutelage.errors import ModelError
from tutelage.teacher.pretrain.objectives.base import Flags, Ids, Objective, bare

# Mean length of what is cut out, in tokens (T5's default).
_SPAN = 3.0


class Span(Objective):
    """Spans of the text are cut out, each leaves a token of its own; the decoder writes that token and what was there.

    text: a b c d e f     input: a b <0> e <1> </s>     labels: <0> c d <1> f </s>

    As many tokens and spans are cut out of every block, so all rows are of one length.
    """

    auto_model = "AutoModelForSeq2SeqLM"
    unit = "token of what was cut out"

    @property
    def content(self) -> int:
        """The longest text of which the input is `length` tokens."""
        content = self.length - 1  # with one token in one span, its mark and the end
        while content + 1 - self._cut(content + 1)[0] + self._cut(content + 1)[1] + 1 <= self.length:
            content += 1
        return content

    def make(self, ids: Ids, begins: Flags, random: np.random.Generator) -> tuple[Ids, Ids]:
        """Input (content - cut + spans + 1,), labels (cut + spans + 1,)."""
        del begins
        cut, spans = self._cut(len(ids))
        kept_lengths = _parts(len(ids) - cut, spans, random)
        cut_lengths = _parts(cut, spans, random)
        bounds = np.cumsum(np.stack([kept_lengths, cut_lengths], axis=1).ravel())[:-1]
        pieces = np.split(ids, bounds)
        names = [np.array([token]) for token in self.special.sentinels[:spans]]
        end = np.array([self.special.end])
        inputs = [part for kept, name in zip(pieces[::2], names, strict=True) for part in (kept, name)]
        labels = [part for name, gone in zip(names, pieces[1::2], strict=True) for part in (name, gone)]
        return np.concatenate([*inputs, end]), np.concatenate([*labels, end])

    def logits(self, model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """At every position of the decoder, which reads the labels one to the right."""
        shifted = bare(model).prepare_decoder_input_ids_from_labels(labels)
        logits = model(input_ids=inputs, decoder_input_ids=shifted).logits
        return logits.flatten(0, 1), labels.flatten()

    def _cut(self, content: int) -> tuple[int, int]:
        """(tokens that are cut out of so many, in how many spans)."""
        cut = min(max(1, round(content * self.hidden_share)), content - 1)
        return cut, min(max(1, round(cut / _SPAN)), content - cut)

    def _check(self) -> None:
        needed = self._cut(self.content)[1]
        if len(self.special.sentinels) < needed:
            raise ModelError(
                f"the tokenizer has {len(self.special.sentinels)} tokens <extra_id_0> ... to stand for what is cut out",
                expected=f"at least {needed} for sequences of {self.length} tokens",
                cure="lower `training.length`, or choose another `model.checkpoint`",
            )


def _parts(total: int, count: int, random: np.random.Generator) -> Ids:
    """`total` in `count` parts of at least one each, all ways equally likely."""
    cuts = np.sort(random.choice(total - 1, count - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))
