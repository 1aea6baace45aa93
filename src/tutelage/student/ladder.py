"""The shapes worth trying for a teacher, and how long each takes: a ladder to climb from the cheapest up.

- `linear`: no layers: the wide part alone. Only where its table is not too large, and `wide` is not off.
- `static`: the layer of `one`, over one vector of a text: the mean of its embeddings and of what a convolution makes of
  them. No product as wide as the layer is left that is done for every token.
- `narrow`: 2 layers a third as wide, embeddings projected: the smallest on disk, tried where the size is limited. `one`
  is faster and keeps more.
- `one`: the teacher's last layer on its embeddings, with a convolution between them. Where the head reads the first
  token only, the layer computes nothing else, which makes it faster than narrower students.
- `two`: the default student, 2 layers with a feed-forward as wide as the layer.
- `half`: half of the teacher's layers, unchanged.
- `whole`: the teacher itself, not trained any further; its vocabulary is trimmed and its weights are quantised. Not one
  that reads vectors in front of a text, which a student does not have.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tutelage.artifacts.first_token import only_first_token
from tutelage.artifacts.in_front import in_front
from tutelage.artifacts.network import Network, forward
from tutelage.artifacts.tokens import Tokens
from tutelage.errors import ModelError
from tutelage.recipe import StudentRecipe
from tutelage.student import build, matching, stages, widen
from tutelage.student.build import NOTHING, Shape
from tutelage.training import regular
from tutelage.training.precision import precision

_ROUNDS = 3
_READ, _TIMED = 128, 160
_SMALL_RATE = 1e-4


@dataclass(frozen=True)
class Rung:
    """A student that may be tried."""

    name: str
    shape: Shape
    trains: bool
    """Whether it has to be distilled; the teacher itself and a linear model, which is fitted in seconds, have not."""


@dataclass(frozen=True)
class Step:
    """A rung and what it costs on this machine."""

    rung: Rung
    cost: float
    """Seconds to read some rows as it would be deployed, before training."""
    learning: float
    """The same as it would be trained."""


def rungs(settings: StudentRecipe, teacher: Any) -> list[Rung]:
    """The rungs for a teacher's configuration, no shape twice; how fast each is must be measured."""
    full = build.shape_of(teacher)
    named = {
        "linear": NOTHING,
        "static": build.with_convolution(build.static(full), settings, teacher),
        "narrow": build.choose(settings.model_copy(update={"size": "tiny"}), teacher),
        "one": build.with_convolution(build.single(full), settings, teacher),
        "two": build.choose(settings.model_copy(update={"size": "small"}), teacher),
        "half": build.choose(settings.model_copy(update={"size": "medium"}), teacher),
        "whole": full,
    }
    found: dict[Shape, Rung] = {}
    for name, shape in named.items():
        if settings.rungs is not None and name not in settings.rungs:
            continue
        if name == "narrow" and settings.max_mb is None and settings.rungs is None:
            continue
        if name == "static" and not (shape.static and build.hears(teacher)):
            continue
        if name == "linear" and (settings.wide is False or not widen.fits(teacher.vocab_size, teacher.num_labels)):
            continue
        if name == "whole" and in_front(teacher):
            continue
        if name == "whole" or shape.layers < full.layers or shape.width < full.width:
            found[shape] = Rung(name, shape, trains=name not in ("linear", "whole"))
    return list(found.values())


def beside(shape: Shape, settings: StudentRecipe, teacher: Any) -> list[Rung]:
    """One size smaller and one larger than some student of a teacher's configuration: half and twice its layers.

    A single layer cannot be halved, its feed-forward block can; above one vector of a text come its tokens; and where
    the student has all the teacher's layers, twice the feed-forward block is larger. Beyond the teacher's own shape
    there is nothing.
    """
    full, layers, inner = build.shape_of(teacher), shape.layers, shape.feed_forward
    smaller = replace(shape, layers=layers // 2) if layers > 1 else replace(shape, feed_forward=max(1, inner // 2))
    if shape.static:
        larger = replace(shape, static=False)
    elif layers < full.layers:
        larger = replace(shape, layers=min(2 * layers, full.layers))
    else:
        larger = replace(shape, feed_forward=max(inner, min(2 * inner, full.feed_forward)))
    smaller, larger = (build.with_convolution(replace(one, kernel=0), settings, teacher) for one in (smaller, larger))
    rungs = (Rung("smaller", smaller, trains=True), Rung("larger", larger, trains=True))
    return [rung for rung in rungs if rung.shape != shape]


def settings_for(rung: Rung, settings: StudentRecipe) -> StudentRecipe:
    """How a rung is trained: one layer has no states in between to match, and its own only where that is asked for.

    One vector of a text has no tokens to match either.
    """
    if rung.shape.layers > 1 or rung.shape.averages:
        return settings
    if not rung.shape.layers:
        return settings.model_copy(update={"wide": True})
    changed = rung.shape.static or (rung.shape.kernel and settings.hidden_embeddings)
    if settings.hidden_last is True and not changed:
        return settings
    terms = ("hidden", "attention", "relations") if rung.shape.static else ("hidden",)
    stages = settings.stages and [stage.model_copy(update=dict.fromkeys(terms)) for stage in settings.stages]
    return settings.model_copy(update={**dict.fromkeys(terms, 0.0), "stages": stages})


def check(settings: StudentRecipe, teacher: Any) -> None:
    """Raise `ModelError` when a student that a search may try cannot follow this model as the recipe asks."""
    if settings.searches:
        found = rungs(settings, teacher.config)
        if in_front(teacher.config) and (not found or "whole" in (settings.rungs or ())):
            raise ModelError(
                "this teacher reads vectors in front of every text, which a student does not have, so that it cannot "
                "be its own student" + ("" if found else ", and no other is smaller"),
                expected="rungs smaller than the teacher, without `whole`",
                cure="change `student.rungs`, or take a `teacher.strategy` other than prefix and prompt",
            )
        if not found:
            raise ModelError(
                f"student.rungs: {', '.join(settings.rungs or [])}: this teacher has no such rung",
                expected="rungs smaller than the teacher; `linear` needs `student.wide` and not too many classes, "
                "`static` an encoder of the BERT family and `student.convolution`",
                cure="leave out `student.rungs`, or add `whole`",
            )
        for rung in found:
            if rung.trains:
                _check(rung, settings, teacher)


def _check(rung: Rung, settings: StudentRecipe, teacher: Any) -> None:
    try:
        build.check_convolution(rung.shape, teacher)
        matching.check(settings_for(rung, settings), rung.shape, teacher)
    except ModelError as error:
        raise ModelError(
            f"the student `{rung.name}` of a search: {error.given}",
            expected=error.expected,
            cure=f"{error.cure}; or give `student.rungs` without `{rung.name}`",
        ) from error


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


def seconds_to_learn(network: Network, tokens: Tokens, settings: StudentRecipe, *, every: bool = False) -> float:
    """Seconds of a step of training for each text of a batch; the network is of no use afterwards.

    Texts of a batch are of about one length, as in training. What is taught does not matter; with `every`, all
    positions of the last layer are computed, as in a training that follows it.
    """
    rows = np.argsort(tokens.lengths, kind="stable")
    batch = settings.batch_size
    parts = [rows[begin : begin + batch] for begin in range(0, len(rows), batch)]
    model = network.model.train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=_SMALL_RATE, fused=True)
    started = 0.0
    with only_first_token(model, wanted=not every):
        for part in [parts[-1], *parts]:  # the first of all is a warm-up
            with precision(settings.precision, model):
                outputs, _ = forward(model, network.collate(tokens, part), layers=(1,) if every else ())
            torch.autograd.backward(outputs.square().mean())
            optimizer.step()
            optimizer.zero_grad()
            started = started or time.perf_counter()
    return (time.perf_counter() - started) / len(rows)


def seconds_a_text(network: Network, texts: Sequence[str], settings: StudentRecipe, *, every: bool) -> float:
    """Seconds that a student of a search learns from a text, all epochs together, from steps over some of many.

    With `every` as in `seconds_to_learn`; the network is of no use afterwards.
    """
    some = network.tokenize(texts[:: max(len(texts) // _TIMED, 1)])
    step = seconds_to_learn(network, some, settings, every=every)
    return regular.cost(settings) * step * stages.together(settings).epochs
