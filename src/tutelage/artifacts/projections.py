"""Where a Transformer makes its queries, keys and values, and how to overhear them.

Encoders that project a token's state by three separate linear layers are understood: BERT, RoBERTa, ELECTRA and
DistilBERT type. Others fuse the projections, turn them by position, or add positions to the products, so that queries
and keys alone do not say which token attends to which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from tutelage.artifacts import prompt
from tutelage.errors import ModelError

Projection = Literal["query", "key", "value"]
PROJECTIONS: tuple[Projection, ...] = ("query", "key", "value")

# Names of the three in the attention modules of the architectures above.
_NAMES = (("query", "key", "value"), ("q_lin", "k_lin", "v_lin"))
_KNOWN = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert")


def find(model: Any) -> list[dict[str, Any]]:
    """The three linear layers (width -> width) of each layer of an encoder, from the bottom up.

    Raises `ModelError` for architectures of another kind.
    """
    tried = [[getattr(module, name, None) for name in names] for module in model.modules() for names in _NAMES]
    found = [
        dict(zip(PROJECTIONS, parts, strict=True))
        for parts in tried
        if all(isinstance(part, nn.Linear) for part in parts)
    ]
    config = model.config
    whole = all(part.out_features == config.hidden_size for layer in found for part in layer.values())
    if config.model_type not in _KNOWN or len(found) != config.num_hidden_layers or not whole:
        raise ModelError(
            f"the attention of the architecture {config.model_type!r} cannot be followed token by token",
            expected=f"separate queries, keys and values, as in {', '.join(_KNOWN)}",
            cure="set `student.attention: 0` and `student.relations: 0`, or choose another `teacher.model`",
        )
    return found


@contextmanager
def overheard(model: Any, wanted: Iterable[tuple[str, int]]) -> Iterator[dict[tuple[str, int], torch.Tensor]]:
    """Within the context every forward pass leaves some projections (S, T, width) in the mapping that is yielded.

    `wanted` are pairs of a projection's name and a layer, 1 the first.
    """
    heard: dict[tuple[str, int], torch.Tensor] = {}
    wanted = list(wanted)
    layers = find(model) if wanted else []

    def keep(place: tuple[str, int]) -> Any:
        def hook(module: nn.Module, given: Any, made: torch.Tensor) -> None:
            del module, given
            heard[place] = prompt.without(model, made)

        return hook

    handles = [layers[layer - 1][name].register_forward_hook(keep((name, layer))) for name, layer in wanted]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()
