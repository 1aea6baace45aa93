"""Focal loss (Lin et al. 2017, arXiv 1708.02002): what is known already counts less.

    loss_b = (1 - p_b)^strength * -log p_b,  p_b the probability of the label

2 is what the paper takes, for objects in pictures. 0 is plain cross-entropy. The probabilities of a model that learned
with it are less extreme; the temperature that is fitted on validation afterwards mends what one number can.
"""

from __future__ import annotations

import torch

from tutelage.training.regular.labels import Known, RowLoss


def applied(rows: RowLoss, strength: float, known: Known) -> RowLoss:
    """The loss of rows, where it is the negative logarithm of a probability, with less weight on sure ones."""
    del known

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        plain = rows(outputs, targets)
        # -expm1(-x) is 1 - exp(-x), precise near 0; kept from 0 itself, where a root has no slope.
        wrong = -torch.expm1(-plain).clamp_max(-torch.finfo(plain.dtype).tiny)
        return wrong**strength * plain

    return loss
