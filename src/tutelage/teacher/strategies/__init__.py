"""Every way to fine-tune a teacher: one file each, all of the same shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.in_front import mark
from tutelage.artifacts.network import Network
from tutelage.errors import ModelError, RecipeError
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.tasks import Task
from tutelage.teacher.strategies import (
    adalora,
    adapter,
    bitfit,
    choose,
    dora,
    few_shot,
    full,
    gradual,
    head,
    ia3,
    last_n,
    lora,
    mean_layer,
    prefix,
    prompt,
)
from tutelage.teacher.strategies.base import Plan, Prepared, Strategy

_MEAN = "One more layer, which does not learn, gives the head the mean of all tokens."
_MODULES = (full, last_n, head, gradual, bitfit, lora, dora, adalora, ia3, adapter, prefix, prompt, few_shot)
STRATEGIES: dict[str, Strategy] = {module.STRATEGY.name: module.STRATEGY for module in _MODULES}


@contextmanager
def applied(
    network: Network, settings: TeacherRecipe, *, targets: NDArray[np.float64], seed: int, fitted: bool = False
) -> Iterator[Prepared]:
    """Within the context the network's model learns as its strategy says; afterwards what was added is folded in.

    Only vectors in front of a text stay (`prefix`, `prompt`): no plain model says the same.

    `targets` (N,) are those of the training texts, `fitted` says whether the head was trained before. Raises
    `ModelError` when the model cannot take the strategy, `DataError` when the texts cannot.
    """
    strategy, model = STRATEGIES[settings.strategy], network.model
    refuse_impossible(model, settings)
    averaged = average(model, settings, fitted=fitted)
    mean_layer.freeze(model)
    prepared = strategy.prepare(model, Plan(settings, seed, network.task, targets, fitted))
    # What a strategy adds to every layer is added to this one too, and does nothing there.
    mean_layer.freeze(model)
    if averaged:
        prepared = replace(prepared, note=f"{prepared.note} {_MEAN}".lstrip())
    yield prepared
    prepared.merge()
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def expect(model: Any, settings: TeacherRecipe, *, fitted: bool = False) -> None:
    """Let a model that is to learn show beforehand, in place, what students will find of it.

    That is the layer through which its head reads the mean, and how many vectors it will read in front of a text.
    """
    average(model, settings, fitted=fitted)
    if settings.strategy in STRATEGIES:
        mark(model.config, STRATEGIES[settings.strategy].in_front)


def average(model: Any, settings: TeacherRecipe, *, fitted: bool = False) -> bool:
    """Let a model have the layer through which its head reads the mean, in place, where it is to; tells whether.

    A strategy that is still to be chosen does not say. Doing it again changes nothing.
    """
    wanted = settings.strategy in STRATEGIES and _averages(model, settings, fitted=fitted)
    if wanted:
        mean_layer.add(model, fitted=fitted)
    return wanted


def settled(
    network: Network, settings: TeacherRecipe, targets: NDArray[np.float64], *, free: int, fitted: bool = False
) -> tuple[TeacherRecipe, dict[str, Any] | None]:
    """Settings with a strategy in place of `auto`, and what was chosen and why; else as they are.

    `targets` (N,) are those of the training texts, `free` is memory in bytes, `fitted` says whether the head was
    trained before.
    """
    if settings.strategy != "auto":
        return settings, None
    # What a first task taught the head may have to stay.
    known = choose.facts(network, targets, free=free, fresh=not fitted and settings.first is None)
    taken, why = choose.choose(known, settings, lambda name: not STRATEGIES[name].obstacle(network.model))
    reads, more = choose.reads(known, settings, taken)
    name = f"{taken}, reading the mean" if more else taken
    return settings.taking(taken, reads), choose.told(name, why + more, known)


def _averages(model: Any, settings: TeacherRecipe, *, fitted: bool) -> bool:
    """Whether the head is to read the mean of all tokens; one that was trained before keeps what it reads if it may."""
    if settings.reads == "auto":
        return STRATEGIES[settings.strategy].averages and not fitted and mean_layer.fits(model)
    return settings.reads == "mean"


def refuse_impossible(model: Any, settings: TeacherRecipe) -> None:
    """Raise `ModelError` when an architecture cannot take a strategy, or no mean, with what it can."""
    name = settings.model
    if settings.reads == "mean" and not mean_layer.fits(model):
        raise ModelError(
            f"`teacher.reads: mean` is not possible for {name} ({model.config.model_type})",
            expected=f"an encoder whose head reads the first token: {', '.join(mean_layer.KNOWN)}",
            cure="leave out `teacher.reads`, or choose another `teacher.model`",
        )
    strategy = STRATEGIES.get(settings.strategy)
    if strategy is None:  # `auto` takes what is possible
        return
    obstacle = strategy.obstacle(model)
    if obstacle:
        possible = [other.name for other in STRATEGIES.values() if not other.obstacle(model)]
        raise ModelError(
            f"`teacher.strategy: {strategy.name}` is not possible for {name} ({model.config.model_type}): {obstacle}",
            expected=f"for this architecture one of: {', '.join(possible)}",
            cure="choose one of these, or another `teacher.model`",
        )
    strategy.refuse(model, settings)


def refuse_unfit(settings: TeacherRecipe, task: Task | type[Task]) -> None:
    """Raise `RecipeError` when a strategy needs classes and the task has none."""
    strategy = STRATEGIES.get(settings.strategy)
    if strategy and strategy.only_classes and task.outputs != "scores":
        fitting = ", ".join(name for name, other in STRATEGIES.items() if not other.only_classes)
        raise RecipeError(
            "the recipe",
            [
                f"teacher.strategy: {settings.strategy} compares texts of the same class with texts of others, and the "
                f"labels of {task.name} are no classes; these fit: {fitting}"
            ],
        )


def describe(strategy: Strategy, prepared: Prepared, model: Any) -> str:
    """One line: how much of a prepared model learns, what, and in what memory."""
    total = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    # A gradient and the two moments of AdamW, four bytes each.
    memory = f"{12 * trained / 1e6:.2g} MB for gradients and moments"
    share = f"{100 * trained / total:.3g} % of the weights"
    return f"{strategy.title} trains {share} ({trained:,}, {memory}): {strategy.trains}. {prepared.note}".rstrip()
