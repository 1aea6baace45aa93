"""How a row's answer is compared with its label, and what a regulariser of labels may know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.tasks import Task

RowLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Outputs (B, K) and targets (B,), in training units -> one loss a row (B,)."""


@dataclass(frozen=True)
class Known:
    """What is known before training."""

    task: Task
    targets: NDArray[np.float64]
    """(N,): those of the rows that an epoch draws."""
