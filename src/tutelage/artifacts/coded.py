"""An embedding table in few bytes: frequent tokens keep their row, those of all others are put together from pieces.

Product quantisation (Jégou et al. 2011): a row is cut into parts, and of each part only the number of the most similar
of 255 pieces is kept. For embeddings see Shu and Nakayama 2018, arXiv 1711.01068. The model itself holds the rows that
come of it, as any other model does; only a graph is written with numbers and pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

FILE = "codes.safetensors"
PIECES = 255


@dataclass(frozen=True)
class Codes:
    """How the rows of a table (V, D) that were not kept whole are put together."""

    whole: NDArray[np.int64]
    """(W,) tokens whose rows are kept, in order."""
    numbers: NDArray[np.uint8]
    """(V - W, parts): which piece, for the other tokens in order."""
    pieces: NDArray[np.float32]
    """(parts, PIECES, D / parts)."""

    def table(self, rows: torch.Tensor) -> torch.Tensor:
        """The whole table (V, D): `rows` with those put together in place of all that are not kept."""
        result = rows.detach().clone()
        parts = np.arange(len(self.pieces))
        put = self.pieces[parts, self.numbers].reshape(len(self.numbers), -1)
        result[torch.from_numpy(self._others(len(rows)))] = torch.from_numpy(put).to(result)
        return result

    def _others(self, count: int) -> NDArray[np.int64]:
        return np.setdiff1d(np.arange(count), self.whole)

    def save(self, folder: Path) -> None:
        """Write `codes.safetensors` into a folder."""
        from safetensors.numpy import save_file

        save_file(vars(self), folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Codes | None:
        """What `save` wrote, or None where a folder has no codes."""
        from safetensors.numpy import load_file

        return cls(**load_file(folder / FILE)) if (folder / FILE).is_file() else None


@contextmanager
def in_pieces(model: Any, codes: Codes | None) -> Iterator[None]:
    """Within the context the model looks its tokens up through codes; its answers are the same."""
    if codes is None:
        yield
        return
    table = model.get_input_embeddings()
    model.set_input_embeddings(Coded(table, codes))
    try:
        yield
    finally:
        model.set_input_embeddings(table)


class Coded(nn.Module):
    """Ids -> rows of an embedding table, from the rows that are kept and the pieces of the others."""

    whole: torch.Tensor
    numbers: torch.Tensor
    pieces: torch.Tensor
    first: torch.Tensor
    place: torch.Tensor

    def __init__(self, table: Any, codes: Codes) -> None:
        """`table` is the `nn.Embedding` that `codes` are of; some architectures scale what they look up."""
        super().__init__()
        weight = table.weight.detach()
        parts, _, size = codes.pieces.shape
        self.scale = float(getattr(table, "embed_scale", 1.0))
        self.register_buffer("whole", weight[torch.from_numpy(codes.whole)])
        self.register_buffer("numbers", torch.from_numpy(codes.numbers))
        self.register_buffer("pieces", torch.from_numpy(codes.pieces.reshape(-1, size)))
        self.register_buffer("first", torch.arange(parts) * PIECES)
        self.register_buffer("place", _places(codes, len(weight)))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids (S, T) -> (S, T, D)."""
        return nn.functional.embedding(ids, self.table()) * self.scale

    def table(self) -> torch.Tensor:
        """All rows (V, D). Nothing of it depends on ids: a graph computes it once, when it is loaded."""
        numbers = self.numbers.long() + self.first
        put = nn.functional.embedding(numbers, self.pieces).flatten(1)
        return torch.cat([self.whole, put]).index_select(0, self.place.long())


def _places(codes: Codes, count: int) -> torch.Tensor:
    """(V,) where each token's row is when those that are kept whole come first; in as few bytes as will do."""
    place = np.empty(count, dtype=np.int16 if count <= np.iinfo(np.int16).max else np.int32)
    place[np.concatenate([codes.whole, codes._others(count)])] = np.arange(count)
    return torch.from_numpy(place)
