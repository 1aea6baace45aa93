"""Learning a task from labels: how a teacher is fine-tuned and how the control is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tutelage import storage
from tutelage.artifacts.batch import plan
from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network, forward, weights_fingerprint
from tutelage.artifacts.tokens import Tokens
from tutelage.progress import Progress
from tutelage.recipe import TrainingRecipe
from tutelage.training import checkpoint, head
from tutelage.training.lean import needed_positions, used_embeddings
from tutelage.training.loop import Work, train


def units(network: Network) -> tuple[float, float]:
    """(centre, spread) that the head is trained in; a head without bias cannot learn a centre."""
    centre, spread = network.task.scale()
    return (centre if head.has_bias(network.model, network.task.width) else 0.0), spread


def standardised(network: Network, targets: NDArray[np.float64]) -> torch.Tensor:
    """Targets (N,) in the units that the head is trained in."""
    centre, spread = units(network)
    return torch.from_numpy((targets - centre) / spread).float()


def validator(network: Network, tokens: Tokens, targets: NDArray[np.float64]) -> Callable[[nn.Module], float]:
    """The headline score on some rows, higher is better, for a network whose head is still in training units."""
    metric = network.task.headline
    centre, spread = units(network)

    def validate(_: nn.Module) -> float:
        predictions = network.task.predict(network.outputs(tokens) * spread + centre)
        score = metric.compute(predictions, targets)
        return score if metric.higher_is_better else -score

    return validate


def fit_labels(
    network: Network,
    train_split: Split,
    validation: Split,
    settings: TrainingRecipe,
    *,
    title: str,
    seed: int,
    folder: Path,
    progress: Progress,
) -> checkpoint.State:
    """Train a network on labels, then fold calibration and units into its head."""
    targets = standardised(network, train_split.targets)
    name = fingerprint(network, settings, seed, train_split.fingerprint, validation.fingerprint)
    texts = [network.tokenize(split.texts()) for split in (train_split, validation)]
    with (
        used_embeddings(network, texts) as (tokens, judged),
        needed_positions(network, tokens, dropout=settings.dropout),
    ):

        def loss(model: nn.Module, rows: NDArray[np.int64], done: float) -> torch.Tensor:
            del done
            outputs, _ = forward(model, network.collate(tokens, rows))
            return network.task.label_loss(outputs, targets[rows].to(outputs.device)).sum()

        validate = validator(network, judged, validation.targets)
        work = Work(title, name, batches(tokens, settings, seed), loss, validate)
        state = train(network.model, work, settings, seed=seed, folder=folder, progress=progress)
    finish(network, validation)
    return state


def batches(tokens: Tokens, settings: TrainingRecipe, seed: int) -> Callable[[int], list[NDArray[np.int64]]]:
    """The plan of a training over some tokens."""
    return lambda epoch: plan(tokens.lengths, batch_size=settings.batch_size, seed=seed, epoch=epoch)


def fingerprint(network: Network, settings: TrainingRecipe, *more: object) -> str:
    """Names a training by its initial weights, its settings, and whatever else it depends on."""
    frozen = [name for name, p in network.model.named_parameters() if not p.requires_grad]
    return storage.fingerprint_of(
        weights_fingerprint(network.model), settings.model_dump(), frozen, [str(thing) for thing in more]
    )


def begin_again(network: Network) -> None:
    """Put a head that answers in the user's unit back into training units: the inverse of `finish`."""
    centre, spread = units(network)
    head.rescale(network.model, network.task.width, factor=1 / spread, shift=-centre / spread)


def finish(network: Network, validation: Split) -> None:
    """Fold the training units and the temperature of least validation loss into the head."""
    centre, spread = units(network)
    outputs = network.outputs(network.tokenize(validation.texts()))
    temperature = network.task.temperature(outputs * spread + centre, validation.targets)
    head.rescale(network.model, network.task.width, factor=spread / temperature, shift=centre)
