"""A student and what it needs only while it learns.

Maps to the teacher's width, mixtures of the teacher's layers, log-variances of the terms of its loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from tutelage.artifacts.batch import Batch
from tutelage.artifacts.network import full
from tutelage.artifacts.token_states import HIDDEN, TokenStates, hear
from tutelage.student import weighting
from tutelage.student.matching import Plan, matched_layers
from tutelage.student.weighting import Uncertainty
from tutelage.training.regime import Regime

# A score of a mixture, or a log-variance, moves by a learning rate a step at most, and has to move by about one: faster
# than weights do.
_RATE = 20.0
_FAST = ("mixture.scores", "uncertainty.log_variances")


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
    log_variances: torch.Tensor | None = None
    """(terms,), where the weights of terms are learned."""


class Learner(nn.Module):
    """A student that learns by a plan; the plan may be narrowed for a stage."""

    def __init__(
        self, student: nn.Module, plan: Plan, *, width: int, teacher_width: int, uncertain: bool = False
    ) -> None:
        super().__init__()
        self.student, self.plan = student, plan
        same = width == teacher_width
        self.bridges = nn.ModuleList(nn.Identity() if same else nn.Linear(width, teacher_width) for _ in plan.ours)
        self.mixture = Mixture(plan.ours, plan.theirs, plan.depth) if plan.learned else None
        self.uncertainty = Uncertainty() if uncertain else None

    def forward(self, batch: Batch) -> Told:
        """What the student says of a batch."""
        plan = self.plan
        pooled = () if plan.by_token else plan.ours
        log_variances = self.uncertainty() if self.uncertainty else None
        outputs, hidden, tokens = hear(self.student, batch, layers=pooled, channels=plan.channels(0))
        if not plan.ours:
            return Told(outputs, hidden, tokens, None, log_variances)
        if plan.by_token:
            hidden = tokens.of([(HIDDEN, layer) for layer in plan.ours])
        bridged = torch.stack([full(self.bridges[i](hidden[:, i])) for i in range(len(plan.ours))], dim=1)
        return Told(outputs, bridged, tokens, self._shares(), log_variances)

    def _shares(self) -> torch.Tensor | None:
        """Those of the layers that there are while a student grows: the lowest."""
        return self.mixture()[: len(self.plan.ours)] if self.mixture else None

    def regime(self) -> Regime:
        """How what is not the student learns: scores and log-variances faster, and without being held back."""
        return Regime(rate=lambda name: _RATE if name in _FAST else 1.0, decays=lambda name: name not in _FAST)

    def figures(self) -> dict[str, float]:
        """What of it the history shows: the factors by which the terms are weighed, where they are learned."""
        if self.uncertainty is None:
            return {}
        found = weighting.factors(self.uncertainty.log_variances)
        return {f"factor_{name}": factor for name, factor in found.items()}


class Mixture(nn.Module):
    """How much each of the teacher's layers counts for each of the student's: a softmax over learned scores.

    After attention over the teacher's layers, ALP-KD (Passban et al. 2021, arXiv 2012.14022). There the scores are
    products of the two states, anew for each text; here they are learned numbers, the same for every text. They start
    around the uniform map: a layer's score falls by one for each layer that lies between. Embeddings follow embeddings.
    """

    def __init__(self, ours: Sequence[int], theirs: Sequence[int], depth: int) -> None:
        """`ours` and `theirs` are numbers of layers, `depth` is how many the student has."""
        super().__init__()
        middles = dict(enumerate(matched_layers(max(theirs), depth), start=1))
        start = [[-float(abs(layer - middles.get(mine, 0))) for layer in theirs] for mine in ours]
        apart = [[(layer == 0) != (mine == 0) for layer in theirs] for mine in ours]
        self.scores = nn.Parameter(torch.tensor(start))
        self.register_buffer("apart", torch.tensor(apart), persistent=False)

    def forward(self) -> torch.Tensor:
        """Shares (student's layers, teacher's layers); each row adds up to 1."""
        apart = self.get_buffer("apart")
        return self.scores.masked_fill(apart, float("-inf")).softmax(-1)
