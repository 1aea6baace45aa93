"""Label smoothing (Szegedy et al. 2016, arXiv 1512.00567): the label is not all of the truth.

    loss_b = (1 - strength) * loss(label_b) - strength * mean_k log p_k

0.1 is the paper's. A teacher that learned with it tells its students less of how classes are alike (Mueller et al.
2019, arXiv 1906.02629): measure before you distil from one.
"""

from __future__ import annotations

import torch

from tutelage.training.regular.labels import Known, RowLoss


def applied(rows: RowLoss, strength: float, known: Known) -> RowLoss:
    """The loss of rows with softer labels."""
    del known

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (1 - strength) * rows(outputs, targets) - strength * outputs.log_softmax(-1).mean(-1)

    return loss
