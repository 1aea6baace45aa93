"""Learning a task from labels: how a teacher is fine-tuned and how the control is trained."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tutelage import storage
from tutelage.artifacts.batch import plan
from tutelage.artifacts.corpus import Split
from tutelage.artifacts.mixture import Mixture
from tutelage.artifacts.network import Network, forward, weights_fingerprint
from tutelage.artifacts.tokens import Tokens
from tutelage.progress import Progress
from tutelage.recipe_training import TrainingRecipe, lesson_of
from tutelage.training import checkpoint, head, regular
from tutelage.training.epochs import Epochs
from tutelage.training.frozen import frozen_prefix
from tutelage.training.lean import needed_positions, used_embeddings
from tutelage.training.loop import Loss, Work, train
from tutelage.training.regime import Regime
from tutelage.training.regular import Lesson
from tutelage.training.regular.turn import Answer, Turn
from tutelage.training.until import Goal


def units(network: Network) -> tuple[float, float]:
    """(centre, spread) that the head is trained in; a head without bias cannot learn a centre."""
    centre, spread = network.task.scale()
    return (centre if head.has_bias(network.model, network.task.width) else 0.0), spread


def standardised(network: Network, targets: NDArray[np.float64]) -> torch.Tensor:
    """Targets (N,) in the units that the head is trained in."""
    centre, spread = units(network)
    return torch.from_numpy((targets - centre) / spread).float()


@dataclass
class Exam:
    """Validation rows, answered once an epoch by a network whose head is still in training units."""

    network: Network
    tokens: Tokens
    targets: NDArray[np.float64]
    goal: Goal | None = None

    def score(self, _: nn.Module) -> float:
        """The headline score, higher is better."""
        metric = self.network.task.headline
        centre, spread = units(self.network)
        self.predictions = self.network.task.predict(self.network.outputs(self.tokens) * spread + centre)
        score = metric.compute(self.predictions, self.targets)
        return score if metric.higher_is_better else -score

    def figures(self) -> dict[str, float]:
        """What the goal asks for, of the same answers."""
        return self.goal.figures(self.predictions, self.targets) if self.goal else {}

    def enough(self, record: dict[str, float]) -> bool:
        """Whether an epoch reached the goal."""
        return self.goal is not None and self.goal.reached(record)


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
    goal: Goal | None = None,
    lesson: Lesson | None = None,
    epochs: Epochs | None = None,
) -> checkpoint.State:
    """Train a network on labels, then fold calibration and units into its head.

    A `goal` that validation reaches ends the training at once. A `lesson` replaces the task's own loss of labels.
    `epochs` keep the weights of each, or name the one that is left in the network.
    What is frozen below the first trained layer is computed once, unless there is only one epoch to use it in.
    """
    name = fingerprint(network, settings, seed, train_split.fingerprint, validation.fingerprint)
    texts = [network.tokenize(split.texts()) for split in (train_split, validation)]
    with ExitStack() as lean:
        kept = None
        if settings.epochs > 1 and not regular.moves_tokens(settings):
            kept = lean.enter_context(frozen_prefix(network, texts, folder=folder / "frozen", progress=progress))
        tokens, judged = kept or lean.enter_context(used_embeddings(network, texts))
        lean.enter_context(needed_positions(network, tokens, dropout=settings.dropout))
        lesson = lesson or Lesson(network.task.label_loss)
        exam = Exam(network, judged, validation.targets, goal)
        work = Work(
            title,
            # Checkpoints that hold only what is trained are not those of the whole.
            name if kept is None else storage.fingerprint_of(name, "frozen prefix"),
            # By the lengths of the texts, whatever is left of them to compute: the same batches either way.
            batches(texts[0], settings, seed, train_split.mixture),
            _label_loss(network, tokens, standardised(network, train_split.targets), lesson, settings),
            exam.score,
            exam.figures,
            exam.enough,
            compares_rows=lesson.compares_rows,
            regime=regime or Regime(),
            epochs=epochs,
        )
        state = train(network.model, work, settings, seed=seed, folder=folder, progress=progress)
        said = None if kept is None else network.outputs(judged)
    finish(network, validation, said)
    return state


def _label_loss(
    network: Network, tokens: Tokens, targets: torch.Tensor, lesson: Lesson, settings: TrainingRecipe
) -> Loss:
    def loss(model: nn.Module, rows: NDArray[np.int64], done: float) -> torch.Tensor:
        del done
        batch, labels = network.collate(tokens, rows), targets[rows]

        def judge(answer: Answer) -> torch.Tensor:
            return lesson.rows(answer[0], labels.to(answer[0].device)).sum()

        return regular.loss(Turn(network, batch, lambda: forward(model, batch), judge), settings)

    return loss


def batches(
    tokens: Tokens, settings: TrainingRecipe, seed: int, mixture: Mixture | None = None
) -> Callable[[int], list[NDArray[np.int64]]]:
    """The plan of a training over some tokens: all rows in every epoch, or those that a mixture draws."""
    lengths = tokens.lengths

    def of_epoch(epoch: int) -> list[NDArray[np.int64]]:
        if mixture is None:
            return plan(lengths, batch_size=settings.batch_size, seed=seed, epoch=epoch)
        rows = mixture.epoch(epoch)
        return [rows[batch] for batch in plan(lengths[rows], batch_size=settings.batch_size, seed=seed, epoch=epoch)]

    return of_epoch


def fingerprint(network: Network, settings: TrainingRecipe, *more: object) -> str:
    """Names a training by its initial weights, its settings, how texts are read, and whatever else it depends on."""
    frozen = [name for name, p in network.model.named_parameters() if not p.requires_grad]
    parts = (weights_fingerprint(network.model), lesson_of(settings).model_dump(), vars(network.reading), frozen)
    return storage.fingerprint_of(*parts, [str(thing) for thing in more])


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


def score(network: Network, split: Split) -> float:
    """The headline score of a finished network, higher is better."""
    metric = network.task.headline
    predictions = network.task.predict(network.outputs(network.tokenize(split.texts())))
    found = metric.compute(predictions, split.targets)
    return found if metric.higher_is_better else -found


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
