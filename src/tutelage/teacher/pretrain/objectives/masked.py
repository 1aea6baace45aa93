"""Guess words that were hidden, from both sides: what BERT learns from (Devlin et al. 2019, arXiv 1810.04805).

Whole words are hidden, not pieces of them: a piece is easily guessed from the rest of its word. Which words changes
every time a block comes (Liu et al. 2019, arXiv 1907.11692).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from tutelage.errors import ModelError
from tutelage.teacher.pretrain.objectives.base import IGNORED, Flags, Ids, Objective, bare

# Of the hidden tokens, so many are shown as the mask and so many as a token of chance; the rest as they are, so that
# the model cannot trust what it sees (BERT).
_AS_MASK, _AS_CHANCE = 0.8, 0.1


class Masked(Objective):
    """loss = - sum over hidden t of log p(x_t | the row with its words hidden)."""

    auto_model = "AutoModelForMaskedLM"
    unit = "hidden token"

    @property
    def content(self) -> int:
        """A row has one token more in front and one behind."""
        return self.length - 2

    def make(self, ids: Ids, begins: Flags, random: np.random.Generator) -> tuple[Ids, Ids]:
        """Input and labels (length,), ignored where nothing is hidden."""
        hidden = self._hide(ids, begins, random)
        shown, labels = ids.copy(), np.where(hidden, ids, IGNORED)
        draw = random.random(len(ids))
        others = self._others
        shown[hidden & (draw < _AS_MASK)] = self._mask
        chance = hidden & (draw >= _AS_MASK) & (draw < _AS_MASK + _AS_CHANCE)
        shown[chance] = others[random.integers(0, len(others), int(chance.sum()))]
        around = np.array([IGNORED])
        return np.concatenate([[self._first], shown, [self.special.end]]), np.concatenate([around, labels, around])

    def logits(self, model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """At hidden positions only: the head over the vocabulary is a third of a small encoder's work."""
        wanted = labels != IGNORED
        return _head_at(model, inputs, wanted), labels[wanted]

    def _hide(self, ids: Ids, begins: Flags, random: np.random.Generator) -> Flags:
        """Whole words, in an order of chance, as long as they fit into the share of the row that is hidden (T,).

        Where not even one word fits, single tokens are hidden.
        """
        words = self.is_word(ids)
        most = max(1, round(self.hidden_share * int(words.sum())))
        starts = np.flatnonzero(begins | ~words | np.concatenate([[True], ~words[:-1]]))
        ends = np.append(starts[1:], len(ids))
        hidden = np.zeros(len(ids), dtype=bool)
        for word in random.permutation(len(starts)):
            begin, end = starts[word], ends[word]
            if words[begin] and end - begin <= most:
                hidden[begin:end] = True
                most -= end - begin
            if most <= 0:
                break
        if not hidden.any() and words.any():
            hidden[random.choice(np.flatnonzero(words), min(most, int(words.sum())), replace=False)] = True
        return hidden

    def _check(self) -> None:
        mask, first = self.special.mask, self.special.first
        if mask is None or first is None:
            missing = "mask token" if mask is None else "token to begin a sequence with"
            raise ModelError(
                f"the tokenizer has no {missing}",
                expected="the tokenizer of an encoder that was trained with a masked objective",
                cure="choose another `model.checkpoint`",
            )
        self._mask, self._first = mask, first
        everything = np.arange(self.vocabulary)
        self._others = everything[self.is_word(everything)]


def _head_at(model: nn.Module, inputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Logits (N, V) at the N positions that are wanted (B, T).

    The head of every masked language model of `transformers` looks at each position by itself: it is given the wanted
    ones as a row of N.
    """

    def select(_: nn.Module, __: Any, output: Any) -> Any:
        output["last_hidden_state"] = output["last_hidden_state"][wanted].unsqueeze(0)
        return output

    handle = bare(model).base_model.register_forward_hook(select)
    try:
        logits: torch.Tensor = model(input_ids=inputs).logits
    finally:
        handle.remove()
    return logits.squeeze(0)
