"""FreeLB: several steps uphill, and the weights learn from all of them (Zhu et al. 2020, arXiv 1909.11764).

    mean over k = 0 .. K-1 of loss(x + d_k),  d_{k+1} = d_k + a * g_k / |g_k|, shortened to `strength` where longer

g_k is the gradient by the embedded tokens of a sequence, d_0 is drawn evenly from +- strength / sqrt(numbers in it).
K is 3 and a half the strength. The paper tunes both, and holds the dropout of all steps the same; here each step draws
its own. All K passes are in memory at once.
"""

from __future__ import annotations

import torch

from tutelage.training.regular.turn import Turn, length

STEPS = 3
_STRIDE = 0.5


def loss(turn: Turn, strength: float) -> torch.Tensor:
    """Sum over the rows of a batch, a scalar."""
    shift = begin(turn, strength)
    found: list[torch.Tensor] = []
    for number in range(STEPS):
        with turn.shifted(shift) as seen:
            found.append(turn.once())
        if number < STEPS - 1:
            shift = shortened(shift + _STRIDE * strength * turn.uphill(found[-1], seen), strength)
    return torch.stack(found).mean()


def begin(turn: Turn, strength: float) -> torch.Tensor:
    """Where the climb begins, (S, T, D): not longer than `strength` for each sequence, nothing on padding."""
    table = turn.network.model.get_input_embeddings().weight
    mask = turn.mask.to(table.dtype)
    count = mask.sum(1, keepdim=True) * table.shape[1]
    drawn = torch.rand(*mask.shape[:2], table.shape[1], dtype=table.dtype).to(table.device)
    shift: torch.Tensor = (2 * drawn - 1) * mask * strength / count.sqrt()
    return shift


def shortened(shift: torch.Tensor, most: float) -> torch.Tensor:
    """Moves (S, T, D), each sequence's no longer than `most`."""
    return shift * (most / length(shift).clamp_min(most))
