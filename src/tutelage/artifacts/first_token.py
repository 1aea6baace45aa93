"""The last layer of an encoder, computed for the first position only.

A classification head of the BERT family reads the last layer at the first token and nowhere else. All other positions
of that layer are needed as keys and values only: their queries, their attention output and their feed-forward block
are work that no one reads. The outputs are the same; of a layer's arithmetic about three quarters go.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

_PARTS = ("attention", "intermediate", "output")


@contextmanager
def only_first_token(model: nn.Module, *, wanted: bool = True) -> Iterator[bool]:
    """Within the context the last layer gives only its first position. Yields whether the architecture allows it.

    Whether the head reads only that position is for the caller to check by comparing outputs.
    """
    layer = _last_layer(model) if wanted else None
    if layer is None:
        yield False
        return
    original = layer.forward
    layer.forward = lambda hidden_states, attention_mask=None, *_, **__: _forward(layer, hidden_states, attention_mask)
    try:
        yield True
    finally:
        layer.forward = original


def _last_layer(model: nn.Module) -> Any | None:
    layers = [module for module in model.modules() if _is_bert_layer(module)]
    return layers[-1] if layers else None


def _is_bert_layer(module: nn.Module) -> bool:
    if not all(hasattr(module, part) for part in _PARTS) or getattr(module, "is_decoder", False):
        return False
    attention: Any = module.attention
    inner = getattr(attention, "self", None)
    return hasattr(attention, "output") and all(hasattr(inner, name) for name in ("query", "key", "value"))


def _forward(layer: Any, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """(B, T, D) -> (B, 1, D)."""
    inner = layer.attention.self
    width = inner.attention_head_size

    def heads(values: torch.Tensor) -> torch.Tensor:
        return values.view(values.shape[0], values.shape[1], -1, width).transpose(1, 2)

    first = hidden[:, :1]
    if mask is not None:
        mask = mask[:, :, :1]
    context = F.scaled_dot_product_attention(
        heads(inner.query(first)), heads(inner.key(hidden)), heads(inner.value(hidden)), attn_mask=mask
    )
    context = context.transpose(1, 2).reshape(first.shape)
    attended = layer.attention.output(context, first)
    result: torch.Tensor = layer.output(layer.intermediate(attended), attended)
    return result
