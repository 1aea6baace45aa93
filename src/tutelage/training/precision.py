"""Arithmetic in half precision, where the processor has units for it.

With `bf16` a model is computed under torch's autocast to bfloat16 (8 bits of precision): matrix products, attention and
what lies between them. Weights, gradients, losses and optimizer stay fp32. Where the processor multiplies bfloat16 in
hardware (Intel AMX, AVX512-BF16) wide models are up to three times faster; elsewhere they would be slower, and fp32 is
taken. `auto` takes it for models that are wide enough to gain.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from tutelage.recipe_training import Arithmetic

# Of hidden states. A student of 128 loses on both processors that were tried, for its weights are cast in every step;
# models of 384 gain (docs/decisions/0023).
WIDE = 256
# Their code fills masks with the least number of fp32, which bfloat16 does not hold (transformers 5.23).
_OVERFLOWS = ("deberta",)


def precision(wanted: Arithmetic, model: nn.Module) -> AbstractContextManager[Any]:
    """Within the context a model is computed as wanted."""
    # Not torch's own switch for products of fp32 numbers (`backends.mkldnn.matmul`): it also reaches the small ones
    # inside attention, which became six times slower (torch 2.13, sequences of 30 tokens).
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half(wanted, model))


def exact() -> AbstractContextManager[Any]:
    """Within the context everything is computed in fp32, whatever it stands in."""
    return torch.autocast("cpu", enabled=False)


def is_half(wanted: Arithmetic, model: nn.Module) -> bool:
    """Whether a model is computed in half precision on this machine."""
    kind, width = _kind(model)
    if wanted == "fp32" or kind in _OVERFLOWS or not has_units():
        return False
    return wanted == "bf16" or width >= WIDE


def _kind(model: nn.Module) -> tuple[str, int]:
    """What a model, or the one inside, is called, and the width of its hidden states; 0 where none says."""
    # A student that learns stands in a module of ours, beside what it needs for learning.
    for part in model.modules():
        config = getattr(part, "config", None)
        if isinstance(getattr(config, "hidden_size", None), int):
            return str(getattr(config, "model_type", "")), int(config.hidden_size)  # type: ignore[union-attr]
    return "", 0


def has_units() -> bool:
    """Whether this processor multiplies matrices of bfloat16 in hardware, and torch uses it."""
    library: Any = torch.backends.mkldnn
    processor: Any = torch.cpu
    return bool(library.is_available()) and (
        bool(processor._is_amx_tile_supported()) or bool(processor._is_avx512_bf16_supported())
    )
