"""A student and what it needs only while it learns: maps to the teacher's width, mixtures of the teacher's layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from tutelage.artifacts.batch import Batch
from tutelage.artifacts.network import full
from tutelage.artifacts.token_states import HIDDEN, TokenStates, hear
from tutelage.student.matching import Plan, matched_layers
from tutelage.training.regime import Regime

# A score of a mixture moves by a learning rate a step at most, and has to move by about one: faster than weights do.
_RATE = 20.0


class Told(NamedTuple):
    """What a student says of a batch."""

    outputs: torch.Tensor
    """(B, K)."""
    hidden: torch.Tensor
    """(B, layers, teacher's width): hidden states, bridged; (N, ...) for N tokens where they are matched one by one."""
    tokens: TokenStates
    """What the plan needs of every token."""
    shares: torch.Tensor | None
    """(layers, teacher's layers) that add up to 1 in each row, where mixtures are learned."""


class Learner(nn.Module):
    """A student that learns by a plan; the plan may be narrowed for a stage."""

    def __init__(self, student: nn.Module, plan: Plan, *, width: int, teacher_width: int) -> None:
        super().__init__()
        self.student, self.plan = student, plan
        same = width == teacher_width
        self.bridges = nn.ModuleList(nn.Identity() if same else nn.Linear(width, teacher_width) for _ in plan.ours)
        self.mixture = Mixture(plan.ours, plan.theirs) if plan.learned else None

    def forward(self, batch: Batch) -> Told:
        """What the student says of a batch."""
        plan = self.plan
        pooled = () if plan.by_token else plan.ours
        outputs, hidden, tokens = hear(self.student, batch, layers=pooled, channels=plan.channels(0))
        if not plan.ours:
            return Told(outputs, hidden, tokens, None)
        if plan.by_token:
            hidden = tokens.of([(HIDDEN, layer) for layer in plan.ours])
        bridged = torch.stack([full(self.bridges[i](hidden[:, i])) for i in range(len(plan.ours))], dim=1)
        return Told(outputs, bridged, tokens, self.mixture() if self.mixture else None)

    def regime(self) -> Regime:
        """How what is not the student learns: the scores of a mixture faster, and without being held back."""
        if self.mixture is None:
            return Regime()
        name = "mixture.scores"
        return Regime(rate=lambda given: _RATE if given == name else 1.0, decays=lambda given: given != name)


class Mixture(nn.Module):
    """How much each of the teacher's layers counts for each of the student's: a softmax over learned scores.

    After attention over the teacher's layers, ALP-KD (Passban et al. 2021, arXiv 2012.14022). There the scores are
    products of the two states, anew for each text; here they are learned numbers, the same for every text. They start
    around the uniform map: a layer's score falls by one for each layer that lies between. Embeddings follow embeddings.
    """

    def __init__(self, ours: Sequence[int], theirs: Sequence[int]) -> None:
        super().__init__()
        middles = dict(enumerate(matched_layers(max(theirs), max(ours)), start=1))
        start = [[-float(abs(layer - middles.get(mine, 0))) for layer in theirs] for mine in ours]
        apart = [[(layer == 0) != (mine == 0) for layer in theirs] for mine in ours]
        self.scores = nn.Parameter(torch.tensor(start))
        self.register_buffer("apart", torch.tensor(apart), persistent=False)

    def forward(self) -> torch.Tensor:
        """Shares (student's layers, teacher's layers); each row adds up to 1."""
        apart = self.get_buffer("apart")
        return self.scores.masked_fill(apart, float("-inf")).softmax(-1)
