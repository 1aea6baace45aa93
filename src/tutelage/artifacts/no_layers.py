"""A student without layers: what its wide part says is all it says.

It stands where a network has its Transformer, so that nothing else needs to ask, and answers nothing. In a folder it is
a line of JSON beside the wide part and the tokenizer: no model of `transformers` is a table of hashed pairs.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from tutelage import storage

FILE = "no_layers.json"


class NoLayers(nn.Module):
    """Zeros for every sequence; `outputs` are K."""

    def __init__(self, vocabulary: int, outputs: int) -> None:
        super().__init__()
        self.config: Any = SimpleNamespace(
            model_type="linear",
            vocab_size=vocabulary,
            hidden_size=0,
            num_hidden_layers=0,
            is_encoder_decoder=False,
            pad_token_id=None,
        )
        # Units and calibration are folded into the last linear layer of any model: here into its bias alone.
        self.head = nn.Linear(1, outputs).requires_grad_(False)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def device(self) -> torch.device:
        """Where its inputs belong."""
        return self.head.bias.device

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> Any:
        """Ids (S, T) -> an answer of `transformers` with logits (S, K)."""
        from transformers.modeling_outputs import SequenceClassifierOutput

        del attention_mask
        return SequenceClassifierOutput(logits=self.head(self.head.bias.new_zeros((len(input_ids), 1))))

    def save_pretrained(self, folder: Path) -> None:
        """Say in a folder that there are no layers."""
        storage.write_json(Path(folder) / FILE, {"vocab_size": self.config.vocab_size})

    @classmethod
    def load(cls, folder: Path, outputs: int) -> NoLayers | None:
        """What `save_pretrained` wrote, or None where a folder holds a model with layers."""
        file = folder / FILE
        return cls(int(json.loads(file.read_text(encoding="utf-8"))["vocab_size"]), outputs) if file.is_file() else None
