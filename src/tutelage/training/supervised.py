"""Learning a task from labels: how a teacher is fine-tuned and how the control is trained."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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
from tutelage.training.frozen import frozen_prefix
from tutelage.training.lean import needed_positions, used_embeddings
from tutelage.training.loop import Loss, Work, train
from tutelage.training.regime import Regime


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
    regime: Regime | None = None,
) -> checkpoint.State:
    """Train a network on labels, then fold calibration and units into its head.

    What is frozen below the first trained layer is computed once, unless there is only one epoch to use it in.
    """
    name = fingerprint(network, settings, seed, train_split.fingerprint, validation.fingerprint)
    texts = [network.tokenize(split.texts()) for split in (train_split, validation)]
    with ExitStack() as lean:
        kept = None
        if settings.epochs > 1:
            kept = lean.enter_context(frozen_prefix(network, texts, folder=folder / "frozen", progress=progress))
        tokens, judged = kept or lean.enter_context(used_embeddings(network, texts))
        lean.enter_context(needed_positions(network, tokens, dropout=settings.dropout))
        work = Work(
            title,
            # Checkpoints that hold only what is trained are not those of the whole.
            name if kept is None else storage.fingerprint_of(name, "frozen prefix"),
            # By the lengths of the texts, whatever is left of them to compute: the same batches either way.
            batches(texts[0], settings, seed),
            _label_loss(network, tokens, standardised(network, train_split.targets)),
            validator(network, judged, validation.targets),
            regime=regime or Regime(),
        )
        state = train(network.model, work, settings, seed=seed, folder=folder, progress=progress)
        said = None if kept is None else network.outputs(judged)
    finish(network, validation, said)
    return state


def _label_loss(network: Network, tokens: Tokens, targets: torch.Tensor) -> Loss:
    def loss(model: nn.Module, rows: NDArray[np.int64], done: float) -> torch.Tensor:
        del done
        outputs, _ = forward(model, network.collate(tokens, rows))
        return network.task.label_loss(outputs, targets[rows].to(outputs.device)).sum()

    return loss


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


def finish(network: Network, validation: Split, said: NDArray[np.float32] | None = None) -> None:
    """Fold the training units and the temperature of least validation loss into the head.

    `said` are the network's outputs on validation, where they are known already.
    """
    centre, spread = units(network)
    outputs = network.outputs(network.tokenize(validation.texts())) if said is None else said
    temperature = network.task.temperature(outputs * spread + centre, validation.targets)
    head.rescale(network.model, network.task.width, factor=spread / temperature, shift=centre)


def calibrated(
    network: Network, outputs: NDArray[Any], targets: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """The temperature that suits outputs (N, K) best, and the label loss of each row under it (N,).

    Outputs are in the user's unit; the loss is in training units.
    """
    centre, spread = units(network)
    temperature = network.task.temperature(outputs, targets)
    answers = torch.from_numpy((outputs / temperature - centre) / spread)
    return temperature, network.task.label_loss(answers, standardised(network, targets)).double().numpy()
