"""How a student is compared with its teacher: one file each, all of the same shape.

A loss takes (student (B, K), teacher (B, K), targets (B,), temperature) and returns one number a row (B,). Targets are
NaN where a row has no label. The caller multiplies by the square of the temperature, in every task.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from tutelage.student.losses import huber, soft_cross_entropy

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]

LOSSES: dict[str, Loss] = {
    "soft-cross-entropy": soft_cross_entropy.loss,
    "huber": huber.loss,
}
