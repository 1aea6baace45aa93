"""How well a model guesses texts that it was never trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tutelage.progress import Progress
from tutelage.teacher.pretrain.blocks import Blocks, Written
from tutelage.teacher.pretrain.objectives.base import Objective

# Rows in one forward pass without gradients.
_AT_ONCE = 32


@dataclass(frozen=True)
class Figures:
    """What a mean loss in nats means."""

    loss: float
    perplexity: float
    """exp(loss): among how many tokens the model hesitates. It depends on the tokenizer."""
    bits_per_byte: float
    """What a byte of text costs if every token costs the mean loss: two tokenizers can be compared by it."""

    def say(self, unit: str) -> str:
        """In words."""
        return f"{self.perplexity:,.2f} per {unit} ({self.bits_per_byte:.3f} bits per byte)"


class Judge:
    """Reads the same held-out blocks each time, with the same words hidden; called with a model it gives minus the
    mean loss of a target, so that higher is better."""

    def __init__(
        self, blocks: Blocks, written: Written, objective: Objective, *, most: int, seed: int, progress: Progress
    ) -> None:
        count = min(len(blocks), max(1, most // blocks.size))
        chosen = np.linspace(0, len(blocks) - 1, count).round().astype(int).tolist()
        pairs = [objective.make(*blocks.take(block), np.random.default_rng([seed, block])) for block in chosen]
        self.inputs = torch.from_numpy(np.stack([inputs for inputs, _ in pairs]))
        self.labels = torch.from_numpy(np.stack([labels for _, labels in pairs]))
        self.written, self.objective, self.progress = written, objective, progress

    def __call__(self, model: nn.Module) -> float:
        loss = self.loss(model)
        self.progress.say(f"  held-out perplexity {self.figures(loss).say(self.objective.unit)}")
        return -loss

    def loss(self, model: nn.Module) -> float:
        """Mean over all targets, in nats."""
        device = next(model.parameters()).device
        total, count = 0.0, 0
        model.eval()
        for begin in range(0, len(self.inputs), _AT_ONCE):
            labels = self.labels[begin : begin + _AT_ONCE]
            with torch.inference_mode():
                value = self.objective.loss(model, self.inputs[begin : begin + _AT_ONCE].to(device), labels.to(device))
            total, count = total + float(value), count + int((labels >= 0).sum())
        return total / max(count, 1)

    def figures(self, loss: float) -> Figures:
        """A mean loss in all units."""
        per_byte = loss / math.log(2) * self.written.tokens / max(self.written.bytes, 1)
        # Of weights of chance on a hopeless text the exponential may have no number.
        return Figures(loss, math.exp(min(loss, 700.0)), per_byte)
