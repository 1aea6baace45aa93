"""How models of `transformers` are given another function for attention, by a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def register(name: str, attention: Callable[..., Any]) -> str:
    """Make a function known, and return its name for `set_attn_implementation`; it is given masks as SDPA has them."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, sdpa_mask)
    return name
