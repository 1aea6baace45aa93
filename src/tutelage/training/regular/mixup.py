"""Mixup of sentence embeddings, senMixup (Guo et al. 2019, arXiv 1905.08941; mixup: Zhang et al. 2018, 1710.09412).

    h = s * h_i + (1 - s) * h_j,  s from Beta(strength, strength), j another row of the batch
    loss_i = s * loss(h, label_i) + (1 - s) * loss(h, label_j);  of values: loss(h, s * label_i + (1 - s) * label_j)

h is what the last layer reads. That layer is linear, so that mixing its answers is the same, for every architecture.
A row's partner is another row of its part of the batch: a batch that is cut has other partners.
"""

from __future__ import annotations

import torch

from tutelage.training.regular.labels import Known, RowLoss


def applied(rows: RowLoss, strength: float, known: Known) -> RowLoss:
    """The loss of rows that are mixed in pairs."""
    quantities = known.task.outputs == "quantities"

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        partner = torch.randperm(len(targets)).to(targets.device)
        share = torch.distributions.Beta(strength, strength).sample((len(targets),)).to(outputs)
        return mixed(rows, outputs, targets, partner, share, quantities=quantities)

    return loss


def mixed(
    rows: RowLoss,
    outputs: torch.Tensor,
    targets: torch.Tensor,
    partner: torch.Tensor,
    share: torch.Tensor,
    *,
    quantities: bool,
) -> torch.Tensor:
    """Outputs (B, K), targets (B,), each row's partner (B,) and its own share (B,) -> (B,)."""
    own = share.unsqueeze(-1)
    answers = own * outputs + (1 - own) * outputs[partner]
    if quantities:
        return rows(answers, share * targets + (1 - share) * targets[partner])
    return share * rows(answers, targets) + (1 - share) * rows(answers, targets[partner])
