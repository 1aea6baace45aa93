"""LoRA for the direction of each matrix, a vector for its length. Liu et al. 2024, arXiv 2402.09353."""

from __future__ import annotations

from typing import Any

from tutelage.teacher.strategies import tuners
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy

RANK, ALPHA = 8, 16


def _prepare(model: Any, plan: Plan) -> Prepared:
    from peft import LoraConfig

    config = LoraConfig(r=RANK, lora_alpha=ALPHA, use_dora=True, target_modules=tuners.lora_targets(model))
    tuner = tuners.add(model, config, seed=plan.seed)
    return Prepared(merge=tuner.merge_and_unload)


STRATEGY = Strategy(
    name="dora",
    title="DoRA",
    trains=f"a direction of rank {RANK} and a length of each query and value matrix, and the head",
    reason="It is LoRA with a little more reach at low rank, for a slower step.",
    source="arXiv 2402.09353",
    merges="folded into the matrices",
    obstacle=tuners.lora_obstacle,
    prepare=_prepare,
)
