"""Learned keys and values in front of those of a text, in every layer: prefix tuning.

    attention(x) = softmax(Q(x) [P; K(x)]^T / sqrt(d)) [R; V(x)]

P and R, (heads, vectors, d) in each layer, are all that it adds (Li and Liang 2021, arXiv 2101.00190; for encoders:
Liu et al. 2022, arXiv 2110.07602). Tokens keep their positions, and a text has as many states as before. Queries see
all of the prefix, in decoders too.

It works for every architecture whose attention `transformers` lets be named: the prefix is put in front where queries
meet keys, and nothing else of a model changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tutelage.artifacts.attention import register
from tutelage.artifacts.in_front import mark
from tutelage.artifacts.own_weights import OwnWeights

ATTENTION = "tutelage_prefix"
_USUAL = "sdpa"
_NAME = "prefix"
_KEYS = f".{_NAME}.keys"
_SHORT = 3  # tokens of a text that is read to find out what there is


class Prefix(nn.Module):
    """Of one layer; it begins as numbers of chance of about 1."""

    def __init__(self, heads: int, vectors: int, size: int) -> None:
        """Keys and values are (heads, vectors, size) each."""
        super().__init__()
        self.keys = nn.Parameter(torch.randn(heads, vectors, size))
        self.values = nn.Parameter(torch.randn(heads, vectors, size))


def places(model: Any) -> dict[str, tuple[int, int]]:
    """Heads of keys and their size by the name of each attention module, as found by reading a short text.

    Empty where an architecture's attention cannot be exchanged, and for encoder-decoders, whose layers attend to two
    texts.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if model.config.is_encoder_decoder:
        return {}
    names = {module: name for name, module in model.named_modules()}
    found: dict[str, tuple[int, int]] = {}

    def listen(module: nn.Module, query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> Any:
        found[names[module]] = key.shape[1], key.shape[3]
        return sdpa_attention_forward(module, query, key, value, *rest, **more)

    before = model.config._attn_implementation
    ids = torch.arange(min(_SHORT, int(model.config.vocab_size)), device=model.device).unsqueeze(0)
    model.eval()
    try:
        model.set_attn_implementation(register(f"{ATTENTION}_listens", listen))
        with torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (TypeError, ValueError):
        return {}
    finally:
        model.set_attn_implementation(before)
        # What `transformers` has been told of, it keeps: it must not keep the model.
        names.clear()
    return found


def attach(model: Any, prefixes: Mapping[str, Prefix]) -> None:
    """Put prefixes into attention modules, by their names; the model reads them from now on."""
    for name, prefix in prefixes.items():
        model.get_submodule(name).add_module(_NAME, prefix)
    model.set_attn_implementation(register(ATTENTION, _attend))
    mark(model.config, next(iter(prefixes.values())).keys.shape[1])


def of(model: Any) -> dict[str, Prefix]:
    """The prefixes of a model, or of some part of one, by the names of their attention modules."""
    return {
        name.removesuffix(f".{_NAME}"): module for name, module in model.named_modules() if isinstance(module, Prefix)
    }


def without(weights: Iterable[str]) -> set[str]:
    """Names of weights but those of prefixes."""
    return {name for name in weights if f".{_NAME}." not in name}


def forget(config: Any) -> None:
    """Make a configuration one of a model that reads nothing in front of a text."""
    mark(config, 0)
    if config._attn_implementation == ATTENTION:
        config._attn_implementation = _USUAL


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **settings: Any,
) -> Any:
    """Query (B, H, T, d), key and value (B, K, T, d), mask (B, 1, T, T) -> (B, T, H, d), as `transformers` asks."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    prefix = getattr(module, _NAME, None)
    if prefix is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    asked = settings.pop("is_causal", None)
    causal = getattr(module, "is_causal", True) if asked is None else asked
    length, count = query.shape[2], prefix.keys.shape[1]
    if attention_mask is None and causal:
        attention_mask = torch.ones((1, 1, length, length), dtype=torch.bool, device=query.device).tril()
    if attention_mask is not None:
        seen = 1.0 if attention_mask.dtype == torch.bool else 0.0
        attention_mask = F.pad(attention_mask, (count, 0), value=seen)
    key, value = (
        torch.cat([ours.to(theirs.dtype).unsqueeze(0).expand(theirs.shape[0], -1, -1, -1), theirs], dim=2)
        for ours, theirs in ((prefix.keys, key), (prefix.values, value))
    )
    return sdpa_attention_forward(module, query, key, value, attention_mask, is_causal=False, **settings)


def _rebuild(model: Any, weights: Mapping[str, torch.Tensor], said: Mapping[str, str]) -> None:
    del said
    attach(model, {n.removesuffix(_KEYS): Prefix(*keys.shape) for n, keys in weights.items() if n.endswith(_KEYS)})


WEIGHTS = OwnWeights(
    "prefix.safetensors", "a teacher with a prefix", lambda model: {"kind": _NAME} if of(model) else None, _rebuild
)
