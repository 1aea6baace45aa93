"""Attention as one operator over what the layers before it give, heads side by side.

`transformers` hands over queries, keys and values with an axis of heads in front of that of positions. In a graph each
of these would be a transposition of its own, which takes as long as the attention (docs/decisions/0014); the operator
of ONNX (opset 23) splits heads itself.
"""

from __future__ import annotations

from typing import Any

import torch

from tutelage.artifacts.attention import register

NAME = "tutelage_graph"


def operator() -> str:
    """The name by which a model takes it: see `set_attn_implementation`."""
    return register(NAME, _attention)


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Query (B, H, T, D), key and value (B, K, S, D), mask (B, 1, T, S) -> (B, T, H, D), as `transformers` asks."""
    hidden = attention_mask is not None or not getattr(module, "is_causal", True)
    if not hidden or settings.get("position_bias") is not None or settings.get("is_causal"):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    side_by_side = [part.transpose(1, 2).flatten(2) for part in (query, key, value)]
    found = torch.onnx.ops.attention(
        side_by_side[0],
        side_by_side[1],
        side_by_side[2],
        attention_mask,
        q_num_heads=query.shape[1],
        kv_num_heads=key.shape[1],
        scale=settings.get("scaling"),
    )[0]
    return found.view(*found.shape[:2], query.shape[1], -1), None
