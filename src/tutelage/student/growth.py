"""A student that grows: its lower layers learn first, with the head on top of them, then more layers are put on.

After progressive stacking (Gong et al. 2019, "Efficient Training of BERT by Progressively Stacking", ICML), where a
shallow model is trained, doubled by copying its layers, and trained on. Here one layer or more is added at a time. A
new layer begins as what was taken of the teacher for its place, or as a copy of the topmost that has learned.

All steps together have as many epochs as the recipe says, the later steps one more where they do not come out even;
where there are fewer epochs than layers to add, several are added at once. Every step is a training of its own, as in
`stages.py`, that begins where the one before ended. A step over few layers takes less time.

The layer that takes the mean of all tokens, where a teacher handed one down, is on top in every step: the head has
never read anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from tutelage.artifacts import prefix
from tutelage.artifacts.averaging import averages
from tutelage.errors import ModelError
from tutelage.recipe import StudentRecipe
from tutelage.student import build, stages
from tutelage.student.build import Shape


class Step(NamedTuple):
    """A part of a training."""

    settings: StudentRecipe
    layers: int | None = None
    """How many of the student's layers, from the lowest, there are in it; None for all."""


def steps(settings: StudentRecipe, layers: int) -> list[Step]:
    """The parts of the training of a student of a shape with so many `layers`; without stages and growth one."""
    if settings.growth is None:
        return [Step(stage) for stage in stages.of(settings)]
    plain, start = settings.model_copy(update={"growth": None}), min(settings.growth.start, layers)
    count = min(layers - start + 1, settings.epochs)
    if count == 1:
        return [Step(plain)]
    depths = [start + round(number * (layers - start) / (count - 1)) for number in range(count)]
    shares = [(settings.epochs + number) // count for number in range(count)]
    return [
        Step(plain.model_copy(update={"epochs": epochs}), depth) for epochs, depth in zip(shares, depths, strict=True)
    ]


@contextmanager
def lower(model: Any, layers: int | None) -> Iterator[None]:
    """Within the context a model has its lowest layers only; None leaves it as it is.

    A layer that averages tokens for the head is none of those, and stays on top.
    """
    if layers is None:
        yield
        return
    owner, name, whole = _stack(model)
    _show_every_layer(model)
    left = nn.ModuleList([*whole[:layers], *whole[len(whole) - averages(model.config) :]])
    setattr(owner, name, left)
    model.config.num_hidden_layers = len(left)
    try:
        yield
    finally:
        setattr(owner, name, whole)
        model.config.num_hidden_layers = len(whole)


def _show_every_layer(model: Any) -> None:
    """Ask for all hidden states once: `transformers` hooks those layers that it finds then, and no others later."""
    some = torch.ones((1, 2), dtype=torch.long, device=model.device)
    with torch.no_grad():
        model.eval()(input_ids=some, attention_mask=some, output_hidden_states=True)


def put_on(model: Any, before: int | None, now: int | None) -> None:
    """Make the layers that come on top copies of the topmost so far."""
    if before is None or now is None:
        return
    _, _, whole = _stack(model)
    for layer in whole[before:now]:
        layer.load_state_dict(whole[before - 1].state_dict())


def check(settings: StudentRecipe, shape: Shape, teacher: Any) -> None:
    """Raise `ModelError` when a student of some shape, made from this model, cannot grow as the recipe asks."""
    growth = settings.growth
    if growth is None:
        return
    if not settings.searches and shape.layers <= growth.start:
        raise ModelError(
            f"`student.growth` begins with {growth.start} layers, and the student has {shape.layers}",
            expected="more layers than it begins with",
            cure="lower `student.growth.start`, raise `student.layers`, or leave out `student.growth`",
        )
    if shape.width < build.shape_of(teacher.config).width:
        return  # such a student is a BERT
    _, _, whole = _stack(teacher)
    kinds = {frozenset(prefix.without(layer.state_dict())) for layer in whole}
    if growth.new == "copy" and len(kinds) > 1:
        raise ModelError(
            f"the layers of {type(teacher).__name__} are not all alike, so that none can be a copy of another",
            expected="layers with the same weights",
            cure="take `student.growth.new: teacher`",
        )


def _stack(model: Any) -> tuple[nn.Module, str, nn.ModuleList]:
    """Where a model keeps its layers: (module, name there, the layers)."""
    count = model.config.num_hidden_layers
    found = [
        (owner, name, child)
        for owner in model.modules()
        for name, child in owner.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == count
    ]
    if len(found) != 1 or model.config.is_encoder_decoder:
        raise ModelError(
            f"the layers of {type(model).__name__} are not one stack",
            expected="one, which a student can grow by",
            cure="leave out `student.growth`, or choose an encoder or a decoder as `teacher.model`",
        )
    return found[0]
