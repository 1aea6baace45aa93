"""Arithmetic in half precision, where the processor has units for it.

With `bf16` a model is computed under torch's autocast to bfloat16 (8 bits of precision): matrix products, attention and
what lies between them. Weights, gradients and optimizer stay fp32. Where the processor has tiles for it (Intel AMX)
products are several times faster; elsewhere they would be slower, and fp32 is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tutelage.recipe_training import Arithmetic


@contextmanager
def precision(wanted: Arithmetic) -> Iterator[bool]:
    """Within the context models are computed as wanted. Yields whether that is in half precision."""
    half = wanted == "bf16" and has_units()
    # Not torch's own switch for products of fp32 numbers (`backends.mkldnn.matmul`): it also reaches the small ones
    # inside attention, which became six times slower (torch 2.13, sequences of 30 tokens).
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        yield half


def has_units() -> bool:
    """Whether this processor multiplies matrices of bfloat16 in hardware, and torch uses it."""
    library: Any = torch.backends.mkldnn
    return bool(library.is_available() and torch.cpu._is_amx_tile_supported())
