"""The parameters of a Transformer by height: below its layers, in each of them, above them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from tutelage.artifacts.averaging import averages


@dataclass(frozen=True)
class Anatomy:
    """Names of parameters. Each is in exactly one place."""

    below: tuple[str, ...]
    """Embeddings, and whatever else comes before the last layer and is in none."""
    layers: tuple[tuple[str, ...], ...]
    """From the bottom up; an encoder's before its decoder's."""
    above: tuple[str, ...]
    """The head: everything that reads the last layer, a final normalisation and a pooler included."""
    averaging: tuple[str, ...] = ()
    """A layer between the last and the head that gives it the mean of all tokens: set once, learned never."""

    def inside(self, name: str, *, averaging: bool = False) -> bool:
        """Whether a module or a parameter belongs to a layer, or even to the one that averages."""
        layers = (*self.layers, self.averaging) if averaging else self.layers
        return any(part.startswith(f"{name}.") or part == name for layer in layers for part in layer)


def study(model: Any) -> Anatomy | None:
    """Where each parameter is; None where the layers are not found (shared layers, other containers)."""
    stacks = _stacks(model)
    names = [name for name, _ in model.named_parameters()]
    prefixes = [f"{stack}.{number}." for stack, layers in stacks for number in range(len(layers))]
    layers = tuple(tuple(name for name in names if name.startswith(prefix)) for prefix in prefixes)
    if not layers or not all(layers):
        return None
    inside = {name for layer in layers for name in layer}
    last = names.index(layers[-1][-1])
    before = _read_before(model)
    above = tuple(name for name in names[last + 1 :] if name not in inside and not name.startswith(before))
    taken = inside.union(above)
    below = tuple(name for name in names if name not in taken)
    if averages(model.config):
        return Anatomy(below, layers[:-1], above, layers[-1])
    return Anatomy(below, layers, above)


def _read_before(model: nn.Module) -> tuple[str, ...]:
    """How names begin of what layers read, wherever it stands: embeddings, BART's norm of them, and DeBERTa's norm of
    relative positions and its convolution."""
    found = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) or name.endswith(".layernorm_embedding"):
            found.append(f"{name}.")
        if hasattr(module, "rel_embeddings"):
            found += [f"{name}.LayerNorm.", f"{name}.conv."]
    return tuple(found)


def missing_layers(model: Any) -> str:
    """The obstacle of all strategies that tell layers apart."""
    return "" if study(model) else "its layers are not kept in a list, one by one"


def found(model: Any) -> Anatomy:
    """The anatomy of a model that has no obstacle."""
    anatomy = study(model)
    assert anatomy is not None
    return anatomy


def train_only(model: nn.Module, names: Iterable[str]) -> None:
    """Freeze everything but some parameters."""
    wanted = set(names)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in wanted)


def _stacks(model: Any) -> list[tuple[str, nn.ModuleList]]:
    """The lists that hold as many modules as the configuration names layers; none inside another."""
    config = model.config
    counts = {getattr(config, key, None) for key in ("num_hidden_layers", "num_decoder_layers", "decoder_layers")}
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) in counts
    ]
    outer = [name for name, _ in lists if not re.search(r"\.\d+(\.|$)", name)]
    return [(name, module) for name, module in lists if name in outer]
