"""Teach a student what its teacher said.

    loss of a row = alpha * T^2 * outputs(student, teacher; T) + (1 - alpha) * labels(student) + hidden * states

The loss of a batch is the mean over its rows. Rows without a label have no label term. How outputs and states are
compared is in `losses/`, how alpha may fall on the way in `decline.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tutelage import storage
from tutelage.artifacts.batch import Batch
from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network, forward
from tutelage.artifacts.signals import Signals
from tutelage.artifacts.tokens import Tokens, join
from tutelage.progress import Progress
from tutelage.recipe import StudentRecipe
from tutelage.student import curriculum, decline, losses
from tutelage.student.losses import HIDDEN_LOSSES
from tutelage.training import checkpoint, regular, supervised
from tutelage.training.lean import needed_positions, used_embeddings
from tutelage.training.loop import Loss, Work, train
from tutelage.training.regular.turn import Answer, Turn


@dataclass(frozen=True)
class Transfer:
    """The texts that a student learns from, N rows, labelled or not."""

    tokens: Tokens
    targets: NDArray[np.float64]
    """(N,), NaN where there is no label."""
    name: str
    """Changes when any text, label or signal does."""
    keys: NDArray[np.void]
    signal_rows: NDArray[np.int64]
    """(N,): where the teacher's signals of each row are."""

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: NDArray[np.int64]) -> Transfer:
        """Some rows, in the order given."""
        return Transfer(
            self.tokens.take(rows),
            self.targets[rows],
            storage.fingerprint_of(self.name, rows.tolist()),
            self.keys[rows],
            self.signal_rows[rows],
        )


class Learner(nn.Module):
    """A student and, while it learns, what maps its hidden states to the teacher's width."""

    def __init__(self, student: nn.Module, *, layers: int, width: int, teacher_width: int) -> None:
        super().__init__()
        self.student = student
        same = width == teacher_width
        self.bridges = nn.ModuleList(nn.Identity() if same else nn.Linear(width, teacher_width) for _ in range(layers))

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs (B, K) and bridged hidden states (B, layers, teacher's width) after layer 1, 2 ..."""
        layers = range(1, len(self.bridges) + 1)
        outputs, hidden = forward(self.student, batch, layers=layers)
        if not self.bridges:
            return outputs, hidden
        return outputs, torch.stack([bridge(hidden[:, i]) for i, bridge in enumerate(self.bridges)], dim=1)


def transfer_set(student: Network, splits: Sequence[Split], signals: Signals) -> Transfer:
    """Put the training texts and all unlabelled ones together."""
    keys = np.concatenate([split.keys for split in splits])
    return Transfer(
        join(*(student.tokenize(split.texts()) for split in splits)),
        np.concatenate([split.targets for split in splits]),
        storage.fingerprint_of(signals.folder.name, [split.fingerprint for split in splits]),
        keys,
        signals.find(keys),
    )


def distil(
    student: Network,
    transfer: Transfer,
    signals: Signals,
    validation: Split,
    settings: StudentRecipe,
    *,
    seed: int,
    folder: Path,
    progress: Progress,
) -> checkpoint.State:
    """Train a student in place on recorded signals; units and calibration are folded into its head."""
    torch.manual_seed(seed)
    width, of_states = int(student.model.config.hidden_size), HIDDEN_LOSSES[settings.hidden_loss]
    learner = Learner(
        student.model,
        layers=len(signals.recording.layers) if settings.hidden else 0,
        width=width,
        teacher_width=signals.recording.width if of_states.needs_same_width else width,
    )
    of_outputs = losses.choose(settings.loss, student.task)
    name = supervised.fingerprint(student, settings, seed, transfer.name, validation.fingerprint)
    texts = [transfer.tokens, student.tokenize(validation.texts())]
    with used_embeddings(student, texts) as (tokens, judged), _positions(learner, student, tokens, settings):
        work = Work(
            "Distilling the student",
            name,
            _batches(student, transfer, signals, settings, seed),
            _loss(student, replace(transfer, tokens=tokens), signals, settings),
            supervised.Exam(student, judged, validation.targets).score,
            compares_rows=of_outputs.compares_rows or (bool(learner.bridges) and of_states.compares_rows),
        )
        state = train(learner, work, settings, seed=seed, folder=folder, progress=progress)
    supervised.finish(student, validation)
    return state


def _batches(
    student: Network, transfer: Transfer, signals: Signals, settings: StudentRecipe, seed: int
) -> Callable[[int], list[NDArray[np.int64]]]:
    """The plan of the training: all texts in every epoch, unless there is a curriculum."""
    if settings.curriculum is None:
        return supervised.batches(transfer.tokens, settings, seed)
    known = curriculum.Known(
        student,
        transfer.tokens.lengths,
        transfer.targets,
        lambda: signals.outputs(transfer.signal_rows, transfer.keys),
    )
    return curriculum.batches(known, settings, seed)


def _positions(
    learner: Learner, student: Network, tokens: Tokens, settings: StudentRecipe
) -> AbstractContextManager[Any]:
    """Matching hidden states needs every position of the last layer; outputs alone need what the head reads."""
    return nullcontext() if learner.bridges else needed_positions(student, tokens, dropout=settings.dropout)


def _loss(student: Network, transfer: Transfer, signals: Signals, settings: StudentRecipe) -> Loss:
    centre, spread = supervised.units(student)
    targets = supervised.standardised(student, transfer.targets)
    of_outputs = losses.choose(settings.loss, student.task).compute
    of_states = HIDDEN_LOSSES[settings.hidden_loss].compute
    temperature = settings.temperature

    def loss(model: nn.Module, rows: NDArray[np.int64], done: float) -> torch.Tensor:
        alpha, batch = decline.alpha(settings, done), student.collate(transfer.tokens, rows)
        told = signals.take(transfer.signal_rows[rows], transfer.keys[rows])

        def judge(answer: Answer) -> torch.Tensor:
            outputs, hidden = answer
            said = torch.from_numpy((told["outputs"] - centre) / spread).to(outputs)
            labels = targets[rows].to(outputs.device)
            total = alpha * temperature**2 * of_outputs(outputs, said, labels, temperature).sum()
            if alpha < 1:
                known = ~labels.isnan()
                total = total + (1 - alpha) * student.task.label_loss(outputs[known], labels[known]).sum()
            if hidden.shape[1]:
                goal = torch.from_numpy(told["hidden"].astype(np.float32)).to(outputs)
                total = total + settings.hidden * of_states(hidden, goal).sum()
            return total

        return regular.loss(Turn(student, batch, lambda: model(batch), judge), settings)

    return loss
