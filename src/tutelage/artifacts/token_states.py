"""What a Transformer holds of single tokens: hidden states, queries, keys and values, at real tokens only.

A channel is one of these at one layer: ("hidden", 0) are the embeddings, ("key", 2) the keys in the second layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tutelage.artifacts.batch import Batch
from tutelage.artifacts.network import full, hidden_states, pooled, run
from tutelage.artifacts.projections import overheard
from tutelage.artifacts.signals import Channel

HIDDEN = "hidden"


@dataclass(frozen=True)
class TokenStates:
    """Vectors of the N real tokens of B rows, one row after the other."""

    values: torch.Tensor
    """(N, channels, width)."""
    mask: torch.Tensor
    """(B, T) bool, true on real tokens; N of them are."""
    channels: tuple[Channel, ...]

    def of(self, channels: Sequence[Channel]) -> torch.Tensor:
        """Some channels (N, len(channels), width)."""
        places = [self.channels.index(channel) for channel in channels]
        return self.values[:, places]

    def padded(self, channel: Channel) -> torch.Tensor:
        """One channel (B, T, width), zero where there is no token."""
        found = self.values[:, self.channels.index(channel)]
        result = found.new_zeros((*self.mask.shape, found.shape[-1]))
        result[self.mask] = found
        return result


def averaged(each: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Averages (B,) over the tokens of each row; `each` (N,) has one number for every true place of `mask` (B, T)."""
    counts = mask.sum(1)
    owner = torch.repeat_interleave(torch.arange(len(mask), device=each.device), counts)
    return each.new_zeros(len(mask)).index_add(0, owner, each) / counts.clamp_min(1)


def hear(
    model: Any, batch: Batch, *, layers: Sequence[int] = (), channels: Sequence[Channel] = ()
) -> tuple[torch.Tensor, torch.Tensor, TokenStates]:
    """Outputs (B, K), pooled hidden states (B, layers, width) and states of tokens, from one forward pass.

    With channels, every row must be one sequence. Raises `ModelError` when the architecture does not show them.
    """
    states = [layer for kind, layer in channels if kind == HIDDEN]
    with overheard(model, [channel for channel in channels if channel[0] != HIDDEN]) as heard:
        result = run(model, batch, states=bool(layers or states))
    outputs, hidden = pooled(result, batch, layers=layers)
    mask = batch.attention_mask.bool()
    if not channels:
        return outputs, hidden, TokenStates(outputs.new_zeros((0, 0, 0)), mask, ())
    assert batch.owner is None, "windows have no tokens of their own"
    found = {**heard, **{(HIDDEN, layer): hidden_states(result)[layer] for layer in states}}
    values = torch.stack([full(found[channel][mask]) for channel in channels], dim=1)
    return outputs, hidden, TokenStates(values, mask, tuple(channels))
