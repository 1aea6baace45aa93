"""Learning from blocks of text with the one loop: what a row is, what its loss is, when to look at held-out text."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tutelage import storage
from tutelage.artifacts.network import weights_fingerprint
from tutelage.pretrain_recipe import PretrainTraining
from tutelage.progress import Progress, Silent
from tutelage.recipe_training import lesson_of
from tutelage.teacher.pretrain.blocks import Blocks
from tutelage.teacher.pretrain.heldout import Judge
from tutelage.teacher.pretrain.mixture import Mixture
from tutelage.teacher.pretrain.objectives.base import Objective
from tutelage.training import checkpoint
from tutelage.training.loop import Work, train

Rows = NDArray[np.int64]

# Steps that are run and forgotten to find out how long one takes: the first ones allocate memory and say nothing.
_WARM, _TIMED = 2, 6
_LEAST = 0.3  # of what a timed trial took, steps are at least; the rest is its beginning and end


@dataclass(frozen=True)
class Material:
    """What a training reads."""

    sources: Sequence[Blocks]
    weights: Sequence[float]
    objective: Objective
    judge: Judge
    fingerprint: str
    """Of the texts and of how they became tokens."""


class Reader:
    """Rows as tensors; a function of the row alone, however a batch is split or a training interrupted."""

    def __init__(self, material: Material, mixture: Mixture, *, seed: int) -> None:
        self._material, self._mixture, self._seed = material, mixture, seed
        self._last: tuple[bytes, tuple[torch.Tensor, torch.Tensor]] = (b"", (torch.empty(0), torch.empty(0)))

    def read(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs (B, T) and labels (B, T')."""
        name = rows.tobytes()
        if name != self._last[0]:
            pairs = [self._row(row) for row in rows.tolist()]
            stacked = [torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True)]
            # A batch is counted before it is learned from.
            self._last = (name, (stacked[0], stacked[1]))
        return self._last[1]

    def count(self, rows: Rows) -> int:
        """Targets in some rows."""
        return int((self.read(rows)[1] >= 0).sum()) if len(rows) else 0

    def _row(self, row: int) -> tuple[Any, Any]:
        source, block = self._mixture.find(row)
        random = np.random.default_rng([self._seed, row])
        return self._material.objective.make(*self._material.sources[source].take(block), random)


def work_of(model: nn.Module, material: Material, settings: PretrainTraining, *, steps: int, seed: int) -> Work:
    """A training of so many steps; a stretch between two looks is an epoch of the loop."""
    mixture = Mixture([len(blocks) for blocks in material.sources], material.weights, seed=seed)
    reader, objective = Reader(material, mixture, seed=seed), material.objective
    each = steps_between(steps, settings.looks)

    def loss(network: nn.Module, rows: Rows, done: float) -> torch.Tensor:
        del done
        inputs, labels = reader.read(rows)
        device = next(network.parameters()).device
        return objective.loss(network, inputs.to(device), labels.to(device))

    return Work(
        "Pre-training",
        storage.fingerprint_of(
            weights_fingerprint(model), lesson_of(settings).model_dump(), material.fingerprint, steps, seed
        ),
        lambda stretch: mixture.plan(stretch, steps=each, rows=settings.rows),
        loss,
        material.judge,
        count=reader.count,
    )


def learn(
    model: nn.Module,
    material: Material,
    settings: PretrainTraining,
    *,
    steps: int,
    seed: int,
    folder: Path,
    progress: Progress,
) -> checkpoint.State:
    """Train a model in place and leave the weights in it that guessed held-out text best."""
    work = work_of(model, material, settings, steps=steps, seed=seed)
    return train(model, work, settings.loop(), seed=seed, folder=folder, progress=progress)


def steps_between(steps: int, looks: int) -> int:
    """Steps of each stretch between two looks, all alike."""
    return -(-steps // looks)


def steps_within(
    minutes: float, model: nn.Module, material: Material, settings: PretrainTraining, *, seed: int, progress: Progress
) -> int:
    """As many steps, looks included, as take so long on this machine; a copy of the model runs a few to find out."""
    with progress.bar("Timing a few steps", 2 * _WARM + _TIMED + 1) as bar:
        work = work_of(model, material, settings, steps=settings.looks * (_WARM + _TIMED), seed=seed)
        plan = work.plan(0)
        spent = []
        for batches in (plan[:_WARM], plan[:_WARM], plan[_WARM:]):
            spent.append(_seconds(_trial(model, work, settings, batches, seed)))
            bar.advance(len(batches))
        # Every trial begins with a copy of the model and ends with a checkpoint, which the training does once.
        step = max(spent[2] - spent[1], _LEAST * spent[2]) / (_TIMED - _WARM)
        look = _seconds(lambda: material.judge.loss(copy.deepcopy(model)))
        bar.advance()
    left = 60 * minutes - settings.looks * look
    return settings.looks * max(1, int(left / step / settings.looks))


def _trial(
    model: nn.Module, work: Work, settings: PretrainTraining, batches: list[Rows], seed: int
) -> Callable[[], object]:
    """A training of some batches that leaves nothing behind."""
    once = replace(work, plan=lambda _: batches, validate=None)
    single = settings.loop().model_copy(update={"epochs": 1})

    def run() -> None:
        with tempfile.TemporaryDirectory() as name:
            train(copy.deepcopy(model), once, single, seed=seed, folder=Path(name), progress=Silent())

    return run


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
