"""A small feed-forward block beside each of the model's own: a parallel adapter. He et al. 2022, arXiv 2110.04366.

Adapters between layers (Houlsby et al. 2019, arXiv 1902.00751) need code of their own wherever the model is loaded. One
that stands beside the feed-forward block and shares its activation is the same as a wider block, so it merges without
a trace: inner neurons are added, and the result is a plain model whose configuration says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tutelage.teacher.strategies import anatomy
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy

NEURONS = 64
# How architectures name the two matrices of a feed-forward block, and its inner size in their configuration.
_NAMES = (
    ("intermediate.dense", "output.dense", "intermediate_size"),
    ("ffn.lin1", "ffn.lin2", "hidden_dim"),
    ("mlp.c_fc", "mlp.c_proj", "n_inner"),
    ("DenseReluDense.wi", "DenseReluDense.wo", "d_ff"),
)


class _Widened(nn.Module):
    """A matrix (..., D) -> (..., F) with NEURONS more outputs."""

    def __init__(self, matrix: Any, *, inputs: int) -> None:
        super().__init__()
        self.matrix = matrix
        bias = getattr(matrix, "bias", None) is not None
        self.adapter = nn.Linear(inputs, NEURONS, bias=bias).to(matrix.weight.device)
        nn.init.kaiming_uniform_(self.adapter.weight, a=math.sqrt(5))
        if self.adapter.bias is not None:
            nn.init.zeros_(self.adapter.bias)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (..., F + NEURONS)."""
        return torch.cat([self.matrix(values), self.adapter(values)], dim=-1)

    def merged(self) -> nn.Module:
        """One matrix that does the same."""
        return _joined(self.matrix, self.adapter, dim=0)


class _Fed(nn.Module):
    """A matrix (..., F) -> (..., D) with NEURONS more inputs; it begins by ignoring them."""

    def __init__(self, matrix: Any, *, outputs: int) -> None:
        super().__init__()
        self.matrix = matrix
        self.adapter = nn.Linear(NEURONS, outputs, bias=False).to(matrix.weight.device)
        nn.init.zeros_(self.adapter.weight)

    @property
    def weight(self) -> torch.Tensor:
        """T5 looks at the type of its second matrix."""
        weight: torch.Tensor = self.matrix.weight
        return weight

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(..., F + NEURONS) -> (..., D)."""
        result: torch.Tensor = self.matrix(values[..., :-NEURONS]) + self.adapter(values[..., -NEURONS:])
        return result

    def merged(self) -> nn.Module:
        """One matrix that does the same."""
        return _joined(self.matrix, self.adapter, dim=1)


@dataclass(frozen=True)
class _Block:
    """Where the two matrices of one feed-forward block are."""

    first: str
    second: str
    size: str


def _obstacle(model: Any) -> str:
    return anatomy.missing_layers(model) or ("" if list(_blocks(model)) else "its feed-forward blocks are not known")


def _prepare(model: Any, plan: Plan) -> Prepared:
    found = anatomy.found(model)
    torch.manual_seed(plan.seed)
    blocks = list(_blocks(model))
    anatomy.train_only(model, found.above)
    for block in blocks:
        first, second = model.get_submodule(block.first), model.get_submodule(block.second)
        _put(model, block.first, _Widened(first, inputs=_shape(first)[1]))
        _put(model, block.second, _Fed(second, outputs=_shape(second)[0]))

    def merge() -> None:
        for block in blocks:
            inner = _shape(model.get_submodule(block.first).matrix)[0]
            setattr(model.config, block.size, inner + NEURONS)
            for name in (block.first, block.second):
                _put(model, name, model.get_submodule(name).merged())

    return Prepared(merge=merge)


def _blocks(model: Any) -> Iterator[_Block]:
    found = anatomy.study(model)
    names = {name for name, module in model.named_modules() if _is_matrix(module)}
    for first in sorted(names):
        for one, other, size in _NAMES:
            second = f"{first.removesuffix(one)}{other}"
            fits = first.endswith(f".{one}") and second in names and hasattr(model.config, size)
            # The configuration has one inner size for all layers: even one that does not learn has to grow.
            if fits and found is not None and found.inside(first, averaging=True):
                yield _Block(first, second, size)


def _joined(matrix: Any, more: nn.Linear, *, dim: int) -> nn.Module:
    """Two matrices side by side, as one of the first's kind; `dim` of (outputs, inputs) grows."""
    transposed = not isinstance(matrix, nn.Linear)
    grows = 1 - dim if transposed else dim
    added = more.weight.T if transposed else more.weight
    with torch.no_grad():
        matrix.weight = nn.Parameter(torch.cat([matrix.weight, added.to(matrix.weight)], dim=grows).contiguous())
        if more.bias is not None:
            matrix.bias = nn.Parameter(torch.cat([matrix.bias, more.bias]))
    outputs, inputs = _shape(matrix)
    if transposed:
        matrix.nf, matrix.nx = outputs, inputs
    else:
        matrix.out_features, matrix.in_features = outputs, inputs
    return matrix  # type: ignore[no-any-return]


def _shape(matrix: Any) -> tuple[int, int]:
    """(outputs, inputs); GPT-2 keeps its matrices transposed."""
    rows, columns = matrix.weight.shape
    return (rows, columns) if isinstance(matrix, nn.Linear) else (columns, rows)


def _is_matrix(module: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


STRATEGY = Strategy(
    name="adapter",
    title="Adapters",
    trains=f"{NEURONS} more neurons in each feed-forward block, and the head",
    reason="It learns new features without touching the old: for domains far from what the model knows.",
    source="arXiv 2110.04366",
    merges="become part of the feed-forward blocks, which are wider then",
    obstacle=_obstacle,
    prepare=_prepare,
)
