"""A low-rank product beside each query and value matrix. Hu et al. 2022, arXiv 2106.09685."""

from __future__ import annotations

from typing import Any

from tutelage.teacher.strategies import tuners
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy

RANK = 8
# The product is scaled by this over the rank; twice the rank, as in the paper's GLUE runs with RoBERTa-large.
ALPHA = 16


def _prepare(model: Any, plan: Plan) -> Prepared:
    from peft import LoraConfig

    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=tuners.lora_targets(model))
    tuner = tuners.add(model, config, seed=plan.seed)
    return Prepared(merge=tuner.merge_and_unload)


STRATEGY = Strategy(
    name="lora",
    title="LoRA",
    trains=f"a product of rank {RANK} beside each query and value matrix, and the head",
    reason="It comes close to full fine-tuning with about a hundredth of the weights: for large models, little memory.",
    source="arXiv 2106.09685",
    merges="added to the matrices",
    obstacle=tuners.lora_obstacle,
    prepare=_prepare,
)
