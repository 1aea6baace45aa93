"""Class weights: each class weighs the same, however rare.

    loss_b = w[label_b] * loss(label_b),  w_k = N / (K * rows of class k)

scikit-learn's `balanced` (King and Zeng 2001, Political Analysis 9:137). The mean weight of a row is 1, so that
learning rates keep their meaning. Probabilities become those of a world in which classes are equally common: F1 and
recall of rare classes gain, accuracy and log-loss can lose.
"""

from __future__ import annotations

import numpy as np
import torch

from tutelage.training.regular.labels import Known, RowLoss


def applied(rows: RowLoss, strength: object, known: Known) -> RowLoss:
    """The loss of rows, times the weight of their class."""
    del strength
    weights = balanced(known)

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return weights.to(outputs)[targets.long()] * rows(outputs, targets)

    return loss


def balanced(known: Known) -> torch.Tensor:
    """The weight of each class (K,), from the training targets; 1 where a class has no row."""
    counts = np.bincount(known.targets.astype(np.int64), minlength=known.task.width)
    weights = np.where(counts > 0, len(known.targets) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 1.0)
    return torch.from_numpy(weights)
