"""The shapes worth trying for a teacher, and how long each takes: a ladder to climb from the cheapest up.

- `narrow`: 2 layers a third as wide, embeddings projected: the smallest on disk, tried where the size is limited. `one`
  is faster and keeps more.
- `one`: the teacher's last layer on its embeddings. Where the head reads the first token only, the layer computes
  nothing else, which makes it faster than narrower students.
- `two`: the default student, 2 layers with a feed-forward as wide as the layer.
- `half`: half of the teacher's layers, unchanged.
- `whole`: the teacher itself, not trained any further; its vocabulary is trimmed and its weights are quantised.

A rung without layers needs no place of its own: a cascade whose wide part answers every row is one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.artifacts.first_token import only_first_token
from tutelage.artifacts.network import Network
from tutelage.artifacts.tokens import Tokens
from tutelage.recipe import StudentRecipe
from tutelage.student import build, matching
from tutelage.student.build import Shape

_ROUNDS = 3
_READ = 128


@dataclass(frozen=True)
class Rung:
    """A student that may be tried."""

    name: str
    shape: Shape
    trains: bool
    """Whether it has to be distilled; the teacher itself has not."""


def rungs(settings: StudentRecipe, teacher: Any) -> list[Rung]:
    """The rungs for a teacher's configuration, no shape twice; how fast each is must be measured."""
    full = build.shape_of(teacher)
    named = {
        "narrow": build.choose(settings.model_copy(update={"size": "tiny"}), teacher),
        "one": Shape(1, full.width, full.heads, full.feed_forward),
        "two": build.choose(settings.model_copy(update={"size": "small"}), teacher),
        "half": build.choose(settings.model_copy(update={"size": "medium"}), teacher),
        "whole": full,
    }
    found: dict[Shape, Rung] = {}
    for name, shape in named.items():
        if name == "narrow" and settings.max_mb is None:
            continue
        if name == "whole" or shape.layers < full.layers or shape.width < full.width:
            found[shape] = Rung(name, shape, trains=name != "whole")
    return list(found.values())


def settings_for(rung: Rung, settings: StudentRecipe) -> StudentRecipe:
    """How a rung is trained: one layer has no states in between to match, and is faster without."""
    if rung.shape.layers > 1 or rung.shape.averages:
        return settings
    stages = settings.stages and [stage.model_copy(update={"hidden": None}) for stage in settings.stages]
    return settings.model_copy(update={"hidden": 0.0, "stages": stages})


def check(settings: StudentRecipe, teacher: Any) -> None:
    """Raise `ModelError` when a student that a search may try cannot follow this model as the recipe asks."""
    if settings.searches:
        for rung in rungs(settings, teacher.config):
            if rung.trains:
                matching.check(settings_for(rung, settings), rung.shape, teacher)


def seconds_to_read(network: Network, tokens: Tokens) -> float:
    """Best of a few rounds over some rows, in PyTorch: tells shapes apart before any is trained.

    The last layer computes what the head reads and nothing else, as in the graph that is deployed.
    """
    some = tokens.take(np.arange(min(len(tokens), _READ)))
    found = []
    with only_first_token(network.model):
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            network.outputs(some)
            found.append(time.perf_counter() - start)
    return min(found)
