"""What it costs a student that its layers differ from its teacher's: hidden states, attention and relations."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tutelage.artifacts.projections import PROJECTIONS
from tutelage.artifacts.token_states import HIDDEN, TokenStates, averaged
from tutelage.recipe import StudentRecipe
from tutelage.student.learner import Told
from tutelage.student.losses import ATTENTION_LOSSES, HIDDEN_LOSSES, relations
from tutelage.student.matching import Plan
from tutelage.student.weighting import Term


def terms(ours: Told, theirs: TokenStates, pooled: torch.Tensor, settings: StudentRecipe, plan: Plan) -> Iterator[Term]:
    """What each costs the rows of a batch.

    `theirs` are the teacher's states of the same tokens, `pooled` its averages over texts (B, layers, width).
    """
    if plan.ours:
        yield Term("hidden", settings.hidden, _hidden(ours, theirs, pooled, settings, plan))
    if plan.attention:
        yield Term("attention", settings.attention, _attention(ours.tokens, theirs, settings, plan))
    if plan.relations is not None:
        yield Term("relations", settings.relations, _relations(ours.tokens, theirs, plan))


def _hidden(ours: Told, theirs: TokenStates, pooled: torch.Tensor, settings: StudentRecipe, plan: Plan) -> torch.Tensor:
    compute = HIDDEN_LOSSES[settings.hidden_loss].compute
    goal = theirs.of([(HIDDEN, layer) for layer in plan.theirs]) if plan.by_token else pooled
    if ours.shares is not None:
        goal = torch.einsum("ol,nlw->now", ours.shares, goal)
    each = compute(ours.hidden, goal)
    return averaged(each, theirs.mask) if plan.by_token else each


def _attention(ours: TokenStates, theirs: TokenStates, settings: StudentRecipe, plan: Plan) -> torch.Tensor:
    compute = ATTENTION_LOSSES[settings.attention_loss]
    layers = []
    for pair in plan.attention:
        mine, its = (
            (side.padded(("query", layer)), side.padded(("key", layer)))
            for side, layer in zip((ours, theirs), pair, strict=True)
        )
        layers.append(compute(mine, its, theirs.mask, plan.heads))
    return torch.stack(layers).mean(0)


def _relations(ours: TokenStates, theirs: TokenStates, plan: Plan) -> torch.Tensor:
    assert plan.relations is not None
    mine, its = (
        [side.padded((name, layer)) for name in PROJECTIONS]
        for side, layer in zip((ours, theirs), plan.relations, strict=True)
    )
    return relations.loss(mine, its, theirs.mask, plan.parts)
