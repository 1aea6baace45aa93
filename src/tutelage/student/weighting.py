"""How the terms of a student's loss weigh against each other while it learns.

With n_i the rows of which term i says something, w_i its weight in the recipe, l_ib its loss of row b, the loss of a
batch is the sum over its terms of

    fixed          w_i * sum_b l_ib
    uncertainty    w_i * (exp(-s_i) * (sum_b l_ib + n_i f) + n_i (s_i - f))
    wsl            as fixed, but the teacher's term of a labelled row counts 1 - exp(-L_student / L_teacher)

`uncertainty`: homoscedastic uncertainty (Kendall, Gal and Cipolla 2018, arXiv 1705.07115). The log-variance s_i of each
term is learned with the student, from 0 on, where this is the fixed sum. It comes to rest at log(mean l_i + f), so that
a term counts w_i / (its own mean + f): the sizes of losses no longer matter, the recipe's weights do. The floor f keeps
a term that is nearly 0 from counting for more than 100 times its weight. Kendall et al. have no w_i and no floor, and
halve s_i.

`wsl`: weighted soft labels (Zhou et al. 2021, arXiv 2102.00650). L are the label's losses of the row at temperature 1,
without a gradient. Where the student is sure of the label, a teacher who is less sure only adds bias. Rows without a
label count 1: nothing is known of them that the teacher does not say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn

from tutelage.errors import RecipeError
from tutelage.recipe import StudentRecipe
from tutelage.tasks import Task

TermName = Literal["teacher", "labels", "hidden", "attention", "relations"]
TERMS: tuple[TermName, ...] = ("teacher", "labels", "hidden", "attention", "relations")
_FLOOR = 0.01
# A teacher without any loss on a row is followed there: its share of doubt is then as good as 0.
_LEAST = 1e-7


class Term(NamedTuple):
    """One of the things that a student is to lower."""

    name: TermName
    weight: float
    """In the recipe, schedules included."""
    rows: torch.Tensor
    """(n,): losses of those rows of which it says something."""


class Uncertainty(nn.Module):
    """The log-variances (terms,), in the order of `TERMS`; those of terms that weigh nothing stay 0."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(len(TERMS)))

    def forward(self) -> torch.Tensor:
        """As they are now."""
        return 1 * self.log_variances


def total(terms: Sequence[Term], log_variances: torch.Tensor | None = None) -> torch.Tensor:
    """The loss of a batch, a sum over its rows; `log_variances` (terms,) are those of `uncertainty`."""
    return torch.stack([_weighed(term, log_variances) for term in terms]).sum()


def _weighed(term: Term, log_variances: torch.Tensor | None) -> torch.Tensor:
    if log_variances is None:
        return term.weight * term.rows.sum()
    doubt, floor = log_variances[TERMS.index(term.name)], _FLOOR * len(term.rows)
    weighed = (-doubt).exp() * (term.rows.sum() + floor) + len(term.rows) * doubt - floor
    return term.weight * weighed


def factors(log_variances: torch.Tensor) -> dict[str, float]:
    """What each term's weight in the recipe is multiplied by."""
    return dict(zip(TERMS, (-log_variances.detach().float()).exp().tolist(), strict=True))


def worth_following(outputs: torch.Tensor, said: torch.Tensor, labels: torch.Tensor, task: Task) -> torch.Tensor:
    """How much a teacher's term counts for each row (B,), from 0 to 1; 1 where there is no label.

    Outputs of student and teacher are (B, K), labels (B,), NaN where unknown.
    """
    known, weights = ~labels.isnan(), outputs.new_ones(len(outputs))
    ours, theirs = (task.label_loss(side.detach()[known], labels[known]) for side in (outputs, said))
    weights[known] = -torch.expm1(-ours / theirs.clamp_min(_LEAST)).to(weights)
    return weights


def refuse_unfit(settings: StudentRecipe, task: Task | type[Task]) -> None:
    """Raise `RecipeError` where weights or temperatures ask for probabilities of a task that has none."""
    if task.outputs == "scores":
        return
    problems = []
    if settings.weighting == "wsl":
        problems.append(
            f"student.weighting: 'wsl' compares how sure teacher and student are of a class, and the head of "
            f"{task.name} gives {task.outputs}; these fit: fixed, uncertainty"
        )
    if settings.temperature != 1:
        problems.append(
            f"student.temperature: {settings.temperature:g} softens probabilities, and the head of {task.name} gives "
            f"{task.outputs}: it would only weigh the teacher more, by its square; give `alpha` instead"
        )
    if settings.temperature_schedule != "constant":
        problems.append(
            f"student.temperature_schedule: {settings.temperature_schedule!r} softens probabilities, and the head of "
            f"{task.name} gives {task.outputs}; leave it out"
        )
    if problems:
        raise RecipeError("the recipe", problems)
