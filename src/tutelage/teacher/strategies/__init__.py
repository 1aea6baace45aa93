"""Every way to fine-tune a teacher: one file each, all of the same shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tutelage.artifacts.network import Network
from tutelage.errors import ModelError
from tutelage.recipe import TeacherRecipe
from tutelage.teacher.strategies import (
    adalora,
    adapter,
    bitfit,
    dora,
    full,
    gradual,
    head,
    ia3,
    last_n,
    lora,
)
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy

_MODULES = (full, last_n, head, gradual, bitfit, lora, dora, adalora, ia3, adapter)
STRATEGIES: dict[str, Strategy] = {module.STRATEGY.name: module.STRATEGY for module in _MODULES}


@contextmanager
def applied(network: Network, settings: TeacherRecipe, *, rows: int, seed: int) -> Iterator[Prepared]:
    """Within the context the network's model learns as its strategy says; afterwards it is a plain model again.

    `rows` is the number of training texts. Raises `ModelError` when the model cannot take the strategy.
    """
    strategy, model = STRATEGIES[settings.strategy], network.model
    refuse_impossible(strategy, model, settings.model)
    steps = settings.epochs * -(-rows // settings.batch_size)
    prepared = strategy.prepare(model, Plan(settings, seed, steps))
    yield prepared
    prepared.merge()
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def refuse_impossible(strategy: Strategy, model: Any, name: str) -> None:
    """Raise `ModelError` when an architecture cannot take a strategy, with those that it can."""
    obstacle = strategy.obstacle(model)
    if obstacle:
        possible = [other.name for other in STRATEGIES.values() if not other.obstacle(model)]
        raise ModelError(
            f"`teacher.strategy: {strategy.name}` is not possible for {name} ({model.config.model_type}): {obstacle}",
            expected=f"for this architecture one of: {', '.join(possible)}",
            cure="choose one of these, or another `teacher.model`",
        )


def describe(strategy: Strategy, prepared: Prepared, model: Any) -> str:
    """One line: how much of a prepared model learns, what, and in what memory."""
    total = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    # A gradient and the two moments of AdamW, four bytes each.
    memory = f"{12 * trained / 1e6:.2g} MB for gradients and moments"
    share = f"{100 * trained / total:.3g} % of the weights"
    return f"{strategy.title} trains {share} ({trained:,}, {memory}): {strategy.trains}. {prepared.note}".rstrip()
