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
# The number left over in a byte stands for a part of zeros.
_ZERO = PIECES


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
    place_whole: torch.Tensor
    place_numbers: torch.Tensor
    first: torch.Tensor

    def __init__(self, table: Any, codes: Codes) -> None:
        """`table` is the `nn.Embedding` that `codes` are of; some architectures scale what they look up."""
        super().__init__()
        weight, others = table.weight.detach(), codes._others(len(table.weight))
        parts, size = codes.pieces.shape[0], codes.pieces.shape[2]
        self.scale = float(getattr(table, "embed_scale", 1.0))
        # Both tables end with a row of nothing: what one of them gives for a token that the other one holds.
        nothing = weight.new_zeros((1, weight.shape[1]))
        self.register_buffer("whole", torch.cat([weight[torch.from_numpy(codes.whole)], nothing]))
        none = np.full((1, parts), _ZERO, dtype=np.uint8)
        self.register_buffer("numbers", torch.from_numpy(np.concatenate([codes.numbers, none])))
        zeros = np.zeros((parts, 1, size), dtype=np.float32)
        pieces = np.concatenate([codes.pieces, zeros], axis=1).reshape(-1, size)
        self.register_buffer("pieces", torch.from_numpy(pieces))
        self.register_buffer("first", torch.arange(parts) * (PIECES + 1))
        self.register_buffer("place_whole", _places(codes.whole, len(weight)))
        self.register_buffer("place_numbers", _places(others, len(weight)))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids (S, T) -> (S, T, D)."""
        # Looked up as embeddings, which a graph can hold in eight bits; an index would stay in floating point.
        find = nn.functional.embedding
        whole = find(self.place_whole[ids].long(), self.whole)
        numbers = self.numbers[self.place_numbers[ids].long()].long() + self.first
        return (whole + find(numbers, self.pieces).flatten(-2)) * self.scale


def _places(held: NDArray[np.int64], count: int) -> torch.Tensor:
    """(V,) the row of each token in a table of some of them, or the one after its last; in as few bytes as will do."""
    place = np.full(count, len(held), dtype=np.int16 if len(held) <= np.iinfo(np.int16).max else np.int32)
    place[held] = np.arange(len(held))
    return torch.from_numpy(place)
