"""The wide part of a student: a linear model over tokens and pairs of neighbouring tokens, as one look-up table.

Beside a small Transformer it remembers what single words and phrases mean, which few layers cannot, and costs next
to nothing. "Wide & Deep Learning", Cheng et al. 2016, arXiv 1606.07792; pairs are hashed into a fixed number of rows
("Feature Hashing", Weinberger et al. 2009, arXiv 0902.2206), so that text and graph need no dictionary of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tutelage.artifacts.tokens import Tokens

FILE = "wide.safetensors"
# Two primes; the products stay far below 2**63 for any vocabulary.
_FIRST, _SECOND = 1_000_003, 7_919


class Wide(nn.Module):
    """K scores of a sequence: the sum of its tokens' and pairs' rows over the root of its length, plus a bias.

    `deep` is what the Transformer's outputs are multiplied by before both are added.
    """

    table: torch.Tensor
    bias: torch.Tensor
    scale: torch.Tensor
    deep: torch.Tensor

    def __init__(
        self, table: torch.Tensor, bias: torch.Tensor, *, scale: float = 1.0, deep: float, buckets: int
    ) -> None:
        """`table` (vocabulary + buckets, K) is kept in half precision and multiplied by `scale`; `bias` is (K,)."""
        super().__init__()
        self.buckets = buckets
        self.vocabulary = len(table) - buckets
        self.register_buffer("table", table.half())
        self.register_buffer("bias", bias.float())
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("deep", torch.tensor(float(deep)))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask (S, T), padded on the right -> (S, K)."""
        mask = attention_mask.to(torch.float32).unsqueeze(-1)
        before = torch.cat([torch.zeros_like(input_ids[:, :1]), input_ids[:, :-1]], dim=1)
        paired = torch.cat([torch.zeros_like(mask[:, :1]), mask[:, 1:]], dim=1)
        pairs = self.vocabulary + (before * _FIRST + input_ids * _SECOND) % self.buckets
        # Looked up as embeddings, which a graph does in one step.
        words, phrases = (nn.functional.embedding(ids, self.table).float() for ids in (input_ids, pairs))
        total = (words * mask).sum(1) + (phrases * paired).sum(1)
        return self.scale * total / mask.sum(1).clamp(min=1).sqrt() + self.bias

    @property
    def numbers(self) -> int:
        """Weights that are not zero: rows that no text has ever used are not counted."""
        return int(self.table.count_nonzero()) + len(self.bias) + 1

    def save(self, folder: Path) -> None:
        """Write `wide.safetensors` into a folder."""
        from safetensors.torch import save_file

        save_file(dict(self.state_dict()), folder / FILE, metadata={"buckets": str(self.buckets)})

    @classmethod
    def load(cls, folder: Path) -> Wide | None:
        """What `save` wrote, or None where a folder has no wide part."""
        from safetensors import safe_open

        if not (folder / FILE).is_file():
            return None
        with safe_open(folder / FILE, framework="pt") as file:
            table, bias, scale, deep = (file.get_tensor(name) for name in ("table", "bias", "scale", "deep"))
            buckets = int(file.metadata()["buckets"])
            return cls(table, bias, scale=float(scale), deep=float(deep), buckets=buckets)


def features(tokens: Tokens, *, vocabulary: int, buckets: int) -> Any:
    """The sparse rows (N, vocabulary + buckets) that a `Wide` table is multiplied with; windows are averaged."""
    from scipy.sparse import csr_matrix

    ids = tokens.flat.astype(np.int64)
    lengths, windows = np.diff(tokens.start), np.diff(tokens.first)
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    follows = sequence[1:] == sequence[:-1]
    pairs = vocabulary + (ids[:-1] * _FIRST + ids[1:] * _SECOND) % buckets
    owner = np.repeat(np.arange(len(windows)), windows)
    value = 1 / np.sqrt(np.maximum(lengths, 1)) / windows[owner]
    sequences = np.concatenate([sequence, sequence[1:][follows]])
    columns = np.concatenate([ids, pairs[follows]])
    return csr_matrix((value[sequences], (owner[sequences], columns)), shape=(len(windows), vocabulary + buckets))
