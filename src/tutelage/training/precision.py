"""Arithmetic in half precision, where the processor has units for it.

With `bf16` a model is computed under torch's autocast to bfloat16 (8 bits of precision): matrix products, attention and
what lies between them. Weights, gradients, losses and optimizer stay fp32. Where the processor multiplies bfloat16 in
hardware (Intel AMX, AVX512-BF16) wide models are up to three times faster; elsewhere they would be slower, and fp32 is
taken. `auto` takes it for models that are wide enough to gain.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from tutelage.errors import ModelError
from tutelage.recipe_training import Arithmetic
from tutelage.training import head

# Of hidden states. A student of 128 loses on both processors that were tried, for its weights are cast in every step;
# models of 384 gain (docs/decisions/0023).
WIDE = 256
# Their code fills masks with the least number of fp32, which bfloat16 does not hold (transformers 5.23).
_OVERFLOWS = ("deberta",)


@contextmanager
def precision(wanted: Arithmetic, model: nn.Module) -> Iterator[None]:
    """Within the context a model is computed as wanted, its head always in fp32."""
    # Not torch's own switch for products of fp32 numbers (`backends.mkldnn.matmul`): it also reaches the small ones
    # inside attention, which became six times slower (torch 2.13, sequences of 30 tokens).
    half = is_half(wanted, model)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half), _exact_head(model) if half else nullcontext():
        yield


def exact() -> AbstractContextManager[Any]:
    """Within the context everything is computed in fp32, whatever it stands in."""
    return torch.autocast("cpu", enabled=False)


@contextmanager
def _exact_head(model: nn.Module) -> Iterator[None]:
    """Compute the last linear layer in fp32: 8 bits would leave of a quantity such as a year every eighth value."""
    part = _configured(model)
    try:
        linear = head.last_linear(part, getattr(part.config, "num_labels", 0))
    except ModelError:  # it pre-trains, and has another head
        yield
        return
    plain, before = linear.forward, vars(linear).get("forward")

    def forward(states: torch.Tensor) -> torch.Tensor:
        with exact():
            return plain(states.float())

    vars(linear)["forward"] = forward
    try:
        yield
    finally:
        del vars(linear)["forward"]
        if before is not None:
            vars(linear)["forward"] = before


def is_half(wanted: Arithmetic, model: nn.Module) -> bool:
    """Whether a model is computed in half precision on this machine."""
    kind, width = _kind(model)
    if wanted == "fp32" or kind in _OVERFLOWS or not has_units():
        return False
    return wanted == "bf16" or width >= WIDE


def _kind(model: nn.Module) -> tuple[str, int]:
    """What a model, or the one inside, is called, and the width of its hidden states; 0 where none says."""
    config = getattr(_configured(model), "config", None)
    return str(getattr(config, "model_type", "")), int(getattr(config, "hidden_size", 0))


def _configured(model: nn.Module) -> Any:
    """The model, or the one inside, that says how wide its hidden states are; the whole where none does."""
    # A student that learns stands in a module of ours, beside what it needs for learning.
    for part in model.modules():
        if isinstance(getattr(getattr(part, "config", None), "hidden_size", None), int):
            return part
    return model


def has_units() -> bool:
    """Whether this processor multiplies matrices of bfloat16 in hardware, and torch uses it."""
    library: Any = torch.backends.mkldnn
    processor: Any = torch.cpu
    return bool(library.is_available()) and (
        bool(processor._is_amx_tile_supported()) or bool(processor._is_avx512_bf16_supported())
    )
