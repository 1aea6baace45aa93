"""How a student is compared with its teacher: one file each, and this table of them.

A loss of outputs takes (student (B, K), teacher (B, K), targets (B,), temperature) and returns one number a row (B,).
Targets are NaN where a row has no label. The caller multiplies by the square of the temperature, in every task.
A loss of hidden states takes (student (B, layers, width), teacher (B, layers, width)) and returns one number a row;
one that does not compare rows takes tokens in place of rows too.
Losses of attention and relations take vectors of tokens (B, T, width) of both, with a mask (B, T), and return one
number a row, averaged over its real tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tutelage.errors import RecipeError
from tutelage.student.losses import (
    annealed_mse,
    attention,
    dist,
    dkd,
    generalised_jsd,
    hidden_contrastive,
    hidden_cosine,
    hidden_mse,
    hidden_patient,
    hidden_relational,
    hidden_similarity,
    huber,
    kl,
    logit_mse,
    soft_cross_entropy,
    standardised,
    value_mse,
)
from tutelage.tasks import Task


@dataclass(frozen=True)
class OutputLoss:
    """A loss of what the head says."""

    compute: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]
    outputs: str = "scores"
    """What it compares, as `Task.outputs` calls it."""
    least_outputs: int = 1
    """Fewer outputs of the head carry nothing that it could teach."""
    compares_rows: bool = False
    """A row's loss depends on the other rows of its batch."""


@dataclass(frozen=True)
class HiddenLoss:
    """A loss of hidden states."""

    compute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    needs_same_width: bool = True
    """Without it a narrower student needs no learned map to the teacher's width."""
    compares_rows: bool = False
    """A row's loss depends on the other rows of its batch, so that it says nothing of single tokens."""


LOSSES: dict[str, OutputLoss] = {
    "soft-cross-entropy": OutputLoss(soft_cross_entropy.loss, least_outputs=2),
    "kl": OutputLoss(kl.loss, least_outputs=2),
    "logit-mse": OutputLoss(logit_mse.loss, least_outputs=2),
    "annealed-mse": OutputLoss(annealed_mse.loss, least_outputs=2),
    "dkd": OutputLoss(dkd.loss, least_outputs=2),
    "dist": OutputLoss(dist.loss, least_outputs=2, compares_rows=True),
    "standardised": OutputLoss(standardised.loss, least_outputs=3),
    "generalised-jsd": OutputLoss(generalised_jsd.loss, least_outputs=2),
    "huber": OutputLoss(huber.loss, "quantities"),
    "value-mse": OutputLoss(value_mse.loss, "quantities"),
}

HIDDEN_LOSSES: dict[str, HiddenLoss] = {
    "cosine": HiddenLoss(hidden_cosine.loss),
    "mse": HiddenLoss(hidden_mse.loss),
    "patient": HiddenLoss(hidden_patient.loss),
    "relational": HiddenLoss(hidden_relational.loss, needs_same_width=False, compares_rows=True),
    "similarity": HiddenLoss(hidden_similarity.loss, needs_same_width=False, compares_rows=True),
    "contrastive": HiddenLoss(hidden_contrastive.loss, compares_rows=True),
}

ATTENTION_LOSSES = {"scores": attention.scores, "maps": attention.maps}


def choose(name: str, task: Task | type[Task]) -> OutputLoss:
    """The loss of outputs that a recipe names; `auto` is the task's own.

    A task that is not bound yet says what its outputs are, not how many. Raises `RecipeError` with those that fit.
    """
    name = task.default_loss if name == "auto" else name
    least = task.width if isinstance(task, Task) else None
    fitting = [
        other
        for other, entry in LOSSES.items()
        if entry.outputs == task.outputs and (least is None or entry.least_outputs <= least)
    ]
    if name not in fitting:
        count = "" if least is None else f"{least} "
        raise RecipeError(
            "the recipe",
            [
                f"student.loss: {name!r} does not fit {task.name}, whose head gives {count}{task.outputs}; "
                f"these do: auto, {', '.join(fitting)}"
            ],
        )
    return LOSSES[name]
