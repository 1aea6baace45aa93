"""What every objective has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from tutelage.teacher.pretrain.special import Special

Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]
IGNORED = -100
"""Label of a position that is no target, as in torch and transformers."""


class Objective(ABC):
    """Makes a row of input and labels out of a block of text, and a loss out of rows.

    `length` is what the model reads at once, `hidden_share` how much of it is hidden where something is. Raises
    `ModelError` when the tokenizer lacks a token that is needed.
    """

    auto_model: ClassVar[str]
    """Class of `transformers` that has the objective's head."""
    unit: ClassVar[str]
    """What a perplexity is per."""

    def __init__(self, special: Special, *, vocabulary: int, length: int, hidden_share: float) -> None:
        self.special, self.vocabulary, self.length, self.hidden_share = special, vocabulary, length, hidden_share
        self._every = np.array(sorted(special.every), dtype=np.int64)
        self._check()

    @property
    @abstractmethod
    def content(self) -> int:
        """Tokens of text behind each row."""

    @abstractmethod
    def make(self, ids: Ids, begins: Flags, random: np.random.Generator) -> tuple[Ids, Ids]:
        """Input (T,) and labels (T',) of one block: ids (content,), and whether each token begins a word (content,).

        Every block gives as many of both, so that rows need no padding.
        """

    @abstractmethod
    def logits(self, model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (N, V) at the N targets of some rows, and the targets (N,)."""

    def loss(self, model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Sum of the cross-entropies of all targets, in nats, a scalar. Inputs (B, T), labels (B, T')."""
        logits, targets = self.logits(model, inputs, labels)
        return F.cross_entropy(logits.float(), targets, reduction="sum")

    def _check(self) -> None:  # noqa: B027 - most tokenizers have all that is needed
        """Raise `ModelError` when the tokenizer lacks something."""

    def is_word(self, ids: Ids) -> Flags:
        """Which tokens stand for text (T,)."""
        return ~np.isin(ids, self._every)


def bare(model: nn.Module) -> Any:
    """The model itself, out of what distributes it over processes."""
    return getattr(model, "module", model)
