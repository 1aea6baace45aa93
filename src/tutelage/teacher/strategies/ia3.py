"""Keys, values and inner activations are scaled, element by element. Liu et al. 2022, arXiv 2205.05638."""

from __future__ import annotations

from typing import Any

from tutelage.teacher.strategies import tuners
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy
from tutelage.training.regime import Regime


def _prepare(model: Any, plan: Plan) -> Prepared:
    from peft import IA3Config

    targets, feed_forward = tuners.ia3_targets(model)
    tuner = tuners.add(model, IA3Config(target_modules=targets, feedforward_modules=feed_forward), seed=plan.seed)
    # A scale begins at 1; decay would pull it to 0, and the model's own weights with it.
    return Prepared(Regime(decays=lambda name: ".ia3_l." not in name), merge=tuner.merge_and_unload)


STRATEGY = Strategy(
    name="ia3",
    title="(IA)³",
    trains="one scale for each key, value and input of a dense layer behind them, and the head",
    reason="It trains the fewest weights of all that reach every layer: for a few dozen labels.",
    source="arXiv 2205.05638",
    merges="multiplied into the matrices",
    obstacle=tuners.ia3_obstacle,
    prepare=_prepare,
)
