"""The head learns first, and every epoch one more layer below it, each more slowly than the one above.

Howard and Ruder 2018 (ULMFiT, arXiv 1801.06146), sections 3.2 and 3.3: gradual unfreezing, discriminative rates.
"""

from __future__ import annotations

from typing import Any

from tutelage.teacher.strategies import anatomy
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy
from tutelage.training.regime import Regime

# From the paper: a layer learns at the rate of the one above it, divided by this.
FACTOR = 2.6


def _prepare(model: Any, plan: Plan) -> Prepared:
    found = anatomy.found(model)
    groups = [found.above, *reversed(found.layers), found.below]
    # What no epoch reaches stays frozen from the start, so that it is computed once.
    reached = groups[: plan.settings.epochs]
    height = {name: number for number, group in enumerate(reached) for name in group}
    anatomy.train_only(model, height)

    def begin_epoch(epoch: int) -> None:
        for name, parameter in model.named_parameters():
            if name in height:
                parameter.requires_grad_(height[name] <= epoch)

    layers = min(len(reached) - 1, len(found.layers))
    return Prepared(
        Regime(rate=lambda name: FACTOR ** -height[name], begin_epoch=begin_epoch),
        note=f"{plan.settings.epochs} epochs reach {layers} of {len(found.layers)} layers; "
        f"{len(groups)} reach everything.",
    )


STRATEGY = Strategy(
    name="gradual",
    title="Gradual unfreezing",
    trains=f"the head, then each epoch one more layer from the top, at rates that fall by {FACTOR} a layer",
    reason="It forgets least: for few labels, and for texts unlike those the model was trained on.",
    source="arXiv 1801.06146",
    merges="",
    obstacle=anatomy.missing_layers,
    prepare=_prepare,
)
