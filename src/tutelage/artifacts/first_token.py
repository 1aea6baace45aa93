"""The last layer of an encoder, computed for the first position only.

A classification head of the BERT family reads the last layer at the first token and nowhere else. All other positions
of that layer are needed as keys and values only: their queries, their attention output and their feed-forward block
are work that no one reads. Nor need their keys and values be computed: with one query q a head, q · (W_k x) is
(W_kᵀ q) · x, and the weighted sum of W_v x is W_v times the weighted sum of x; what the keys' bias adds is the same for
every position, so that softmax takes it out. Each head then compares one vector as wide as the layer with what comes
into the layer, and nothing is left that is done for every token but that. The outputs are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from tutelage.artifacts import prefix

_PARTS, _OTHERS = ("attention", "intermediate", "output"), ("bottleneck", "ffn")


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
    # A prefix belongs to the attention that would be passed over.
    return layers[-1] if layers and not prefix.of(layers[-1]) else None


def _is_bert_layer(module: nn.Module) -> bool:
    if not all(hasattr(module, part) for part in _PARTS) or getattr(module, "is_decoder", False):
        return False
    attention: Any = module.attention
    inner = getattr(attention, "self", None)
    alike = hasattr(attention, "output") and all(hasattr(inner, name) for name in ("query", "key", "value"))
    # What has more to it computes something else: MobileBERT's bottlenecks, Longformer's second queries.
    return alike and not any(hasattr(module, name) for name in _OTHERS) and not hasattr(inner, "query_global")


def _forward(layer: Any, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """(B, T, D) -> (B, 1, D)."""
    inner = layer.attention.self
    first = hidden[:, :1]
    if mask is not None:
        mask = mask[:, :, :1]
    read = _read_inputs if _plain(inner.key) and _plain(inner.value) else _read_keys
    attended = layer.attention.output(read(inner, inner.query(first), hidden, mask), first)
    result: torch.Tensor = layer.output(layer.intermediate(attended), attended)
    return result


def _plain(part: Any) -> bool:
    """Whether a weight and a bias are all there is to a part; an adapter beside them would be passed over."""
    return type(part) is nn.Linear and not parametrize.is_parametrized(part)


def _read_inputs(inner: Any, query: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """What the first position gathers (B, 1, D), from the layer's inputs: no keys, no values."""
    size = inner.attention_head_size
    count = query.shape[-1] // size
    keys, values = (part.weight.view(count, size, -1) for part in (inner.key, inner.value))
    asked = (query.view(-1, count, size).transpose(0, 1) @ keys).transpose(0, 1)
    # The heads stand where positions would: all of them read the same inputs.
    inputs = hidden.unsqueeze(1)
    seen = mask if mask is None else mask.expand(-1, -1, count, -1)
    found = F.scaled_dot_product_attention(asked.unsqueeze(1), inputs, inputs, attn_mask=seen, scale=size**-0.5)
    gathered: torch.Tensor = found.squeeze(1).transpose(0, 1) @ values.transpose(1, 2)
    gathered = gathered.transpose(0, 1).reshape(query.shape)
    return gathered if inner.value.bias is None else gathered + inner.value.bias


def _read_keys(inner: Any, query: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """What the first position gathers (B, 1, D), from keys and values of all positions."""

    def heads(values: torch.Tensor) -> torch.Tensor:
        return values.view(values.shape[0], values.shape[1], -1, inner.attention_head_size).transpose(1, 2)

    found = F.scaled_dot_product_attention(
        heads(query), heads(inner.key(hidden)), heads(inner.value(hidden)), attn_mask=mask
    )
    return found.transpose(1, 2).reshape(query.shape)
