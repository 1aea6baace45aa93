"""LoRA whose ranks move to the matrices that need them. Zhang et al. 2023, arXiv 2303.10512.

Each matrix begins with rank 12. While it learns, the least important directions of all matrices are switched off
until 8 are left on average; weights kept from an earlier, better epoch may still have more. Without that step AdaLoRA
silently is LoRA (peft issues 432, 1801), so the loop calls it after every step, and its running importances are part of
each checkpoint.
"""

from __future__ import annotations

from typing import Any

import torch

from tutelage.errors import ModelError
from tutelage.teacher.strategies import tuners
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy
from tutelage.training.regime import Regime, Tensors

FIRST_RANK, RANK, ALPHA = 12, 8, 16
# Shares of the steps before the budget begins to fall, and after it has reached its goal; within the paper's ranges.
_WARMUP, _SETTLED = 0.1, 0.3
_LEAST_STEPS = 10
_ADAPTER = "default"
_RANKS = "ranks."
# What the allocator remembers from step to step: running means of importance, and of its changes.
_MEMORIES = ("exp_avg_ipt", "exp_avg_unc")


def _prepare(model: Any, plan: Plan) -> Prepared:
    from peft import AdaLoraConfig

    if plan.steps < _LEAST_STEPS:
        raise ModelError(
            f"AdaLoRA has {plan.steps} training steps to distribute its ranks in",
            expected=f"at least {_LEAST_STEPS}",
            cure="raise `teacher.epochs`, lower `teacher.batch_size`, or set `teacher.strategy: lora`",
        )
    config = AdaLoraConfig(
        init_r=FIRST_RANK,
        target_r=RANK,
        lora_alpha=ALPHA,
        tinit=int(plan.steps * _WARMUP),
        tfinal=int(plan.steps * _SETTLED),
        deltaT=max(1, plan.steps // 100),
        total_step=plan.steps,
        target_modules=tuners.lora_targets(model),
    )
    tuner = tuners.add(model, config, seed=plan.seed)
    budget = _Budget(tuner)
    regime = Regime(
        after_step=budget.allocate, penalty=budget.unorthogonality, state=budget.state, restore=budget.restore
    )
    return Prepared(regime, merge=tuner.merge_and_unload)


class _Budget:
    """How many directions are left, and which."""

    def __init__(self, tuner: Any) -> None:
        self.tuner = tuner
        self.config = tuner.peft_config[_ADAPTER]
        self.allocator = tuner.rankallocator

    def allocate(self, step: int, total: int) -> None:
        """Weigh every direction by its gradient, and switch off those that the budget has no room for."""
        if total != self.config.total_step:
            raise AssertionError(f"AdaLoRA was made for {self.config.total_step} steps, not {total}")
        settled = step > total - self.config.tfinal
        # The step that settles the ranks may have been one that was skipped.
        if not settled or self.config.rank_pattern:
            self.tuner.update_and_allocate(step)

    def unorthogonality(self) -> torch.Tensor:
        """How far the directions are from orthogonal, weighed as in the paper: what `peft` adds to a model's loss."""
        found = []
        for name, value in self.tuner.model.named_parameters():
            if f"lora_A.{_ADAPTER}" in name or f"lora_B.{_ADAPTER}" in name:
                products = value @ value.T if "lora_A" in name else value.T @ value
                found.append(torch.linalg.norm(products - torch.eye(len(products)).to(products)))
        return torch.stack(found).mean() * float(self.config.orth_reg_weight)

    def state(self) -> Tensors:
        """What a checkpoint must keep."""
        means = {f"{kind}.{name}": v for kind in _MEMORIES for name, v in getattr(self.allocator, kind).items()}
        ranks = {f"{_RANKS}{name}": torch.tensor(v) for name, v in (self.config.rank_pattern or {}).items()}
        return {name: value.detach().contiguous().cpu() for name, value in {**means, **ranks}.items()}

    def restore(self, kept: Tensors) -> None:
        """Go on from there."""
        device = next(self.tuner.model.parameters()).device
        for kind in _MEMORIES:
            found = {n.removeprefix(f"{kind}."): v.to(device) for n, v in kept.items() if n.startswith(f"{kind}.")}
            setattr(self.allocator, kind, found)
        # The importances of the last step are overwritten in the next; only their names must be known.
        self.allocator.ipt = {name: torch.zeros_like(value) for name, value in self.allocator.exp_avg_ipt.items()}
        ranks = {n.removeprefix(_RANKS): v.tolist() for n, v in kept.items() if n.startswith(_RANKS)}
        self.config.rank_pattern = ranks or None


STRATEGY = Strategy(
    name="adalora",
    title="AdaLoRA",
    trains=f"products of rank {FIRST_RANK} down to {RANK} on average beside query and value matrices, and the head",
    reason="It gives rank to the layers that need it: where LoRA falls short and some hundred steps can be spent.",
    source="arXiv 2303.10512",
    merges="added to the matrices",
    obstacle=tuners.lora_obstacle,
    prepare=_prepare,
)
