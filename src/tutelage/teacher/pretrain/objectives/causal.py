"""Guess the next token from those before it: what GPT learns from (Radford et al. 2018)."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tutelage.teacher.pretrain.objectives.base import Flags, Ids, Objective


class Causal(Objective):
    """Every token but the first of a row is a target; the end of a text is one too, so that the model learns to stop.

    loss = - sum_t log p(x_t | x_1 .. x_{t-1})
    """

    auto_model = "AutoModelForCausalLM"
    unit = "token"

    @property
    def content(self) -> int:
        """The whole row is text."""
        return self.length

    def make(self, ids: Ids, begins: Flags, random: np.random.Generator) -> tuple[Ids, Ids]:
        """Input (length,), labels (length - 1,): the same, one to the left."""
        del begins, random
        return ids, ids[1:]

    def logits(self, model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """At every position but the last, which has nothing to guess."""
        logits = model(input_ids=inputs).logits[:, :-1]
        return logits.flatten(0, 1), labels.flatten()
