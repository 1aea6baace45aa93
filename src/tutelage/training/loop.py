"""The loop.

Promises, each held by a test:
- a loss is averaged over the real targets of the whole batch: the same gradient under any split into parts, unless
  the loss compares rows with each other;
- killed anywhere and resumed, the final weights are the same, bit for bit, on one machine;
- randomness derives from (seed, step, part), never from how often the run was interrupted;
- a loss or gradient that is not finite never reaches the weights;
- out of memory halves the parts and goes on with the same effective batch.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from numpy.typing import NDArray
from torch import nn

from tutelage.errors import ModelError, TrainingError
from tutelage.progress import Bar, Progress
from tutelage.recipe_training import TrainingRecipe
from tutelage.training import checkpoint, guard, regular
from tutelage.training.epochs import Epochs
from tutelage.training.interruption import deferred
from tutelage.training.optimizer import adamw
from tutelage.training.precision import precision
from tutelage.training.regime import Regime, combined
from tutelage.training.schedule import warmup_then_linear

Rows = NDArray[np.int64]
Loss = Callable[[nn.Module, Rows, float], torch.Tensor]
# Of BERT, GPT-2, T5, BART: numbers that a module hands to a function, where others have a module for it.
_SHARES = ("dropout", "dropout_prob", "attention_dropout", "activation_dropout", "hidden_dropout")


@dataclass(frozen=True)
class Work:
    """What is to be learned."""

    title: str
    fingerprint: str
    """Names data, initial weights and settings: a checkpoint of anything else is not resumed."""
    plan: Callable[[int], list[Rows]]
    """The batches of an epoch, a function of its number alone; every epoch has as many."""
    loss: Loss
    """Sum of the losses of some rows, a scalar tensor, when a share (0 to 1) of all steps is done."""
    validate: Callable[[nn.Module], float] | None = None
    """Validation score, higher is better."""
    figures: Callable[[], dict[str, float]] = dict
    """More of the validation that was just asked for, for the history."""
    enough: Callable[[dict[str, float]], bool] = lambda _: False
    """Whether what the history keeps of an epoch ends the training; its weights are then the ones that are kept."""
    hopeless: Callable[[Sequence[dict[str, float]]], bool] = lambda _: False
    """Whether the history so far says that going on is not worth it; the best weights there were are kept."""
    count: Callable[[Rows], int] = len
    """Real targets in some rows."""
    compares_rows: bool = False
    """A row's loss depends on which others are with it: a batch in parts, or on several processes, is another loss."""
    regime: Regime = field(default_factory=Regime)
    """What a strategy changes in the loop."""
    epochs: Epochs | None = None
    """Keeps the weights of every epoch that is judged, where there is to be a choice among them."""


def train(
    model: nn.Module, work: Work, settings: TrainingRecipe, *, seed: int, folder: Path, progress: Progress
) -> checkpoint.State:
    """Train a model in place and leave the best weights in it; checkpoints go to `folder`.

    Returns the final state, with the history of every epoch. Raises `TrainingError`, `StorageError`, and `ModelError`
    where what is asked for would do nothing to this model.
    """
    set_dropout(model, settings.dropout)
    if settings.r_drop and not _drops(model):
        raise ModelError(
            f"{work.title}: `r_drop` compares two passes, and no dropout is left in what learns: both are the same",
            expected="dropout above the first weights that learn",
            cure="leave `r_drop` out, or let more of the model learn",
        )
    # A training ends with a collection of garbage. It need not go through all that libraries hold: a quarter of a
    # second each time, which is a twentieth of a small student's training.
    gc.freeze()
    try:
        return _Training(model, work, settings, seed, folder, progress).run()
    finally:
        gc.unfreeze()


def set_dropout(model: nn.Module, share: float) -> None:
    """Set every dropout of a model to one share, and to 0 below everything that is trained."""
    # What comes before the first trained parameter only ever passes on what it is given: noise there teaches nothing,
    # and without it the outputs of a frozen part are the same in every epoch.
    below = not all(parameter.requires_grad for parameter in itertools.islice(model.parameters(), 1))
    for module in model.modules():
        below = below and not any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        frozen = below and not any(parameter.requires_grad for parameter in module.parameters())
        if isinstance(module, nn.Dropout):
            module.p = 0.0 if frozen else share
        # Fused attention kernels take their share from attributes of the attention module.
        for name in _SHARES:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0 if frozen else share)


def _drops(model: nn.Module) -> bool:
    return any(
        (isinstance(module, nn.Dropout) and module.p > 0)
        or any(isinstance(share := getattr(module, name, None), float) and share > 0 for name in _SHARES)
        for module in model.modules()
    )


class _Training:
    def __init__(  # noqa: PLR0917 - called once, by `train`
        self,
        model: nn.Module,
        work: Work,
        settings: TrainingRecipe,
        seed: int,
        folder: Path,
        progress: Progress,
    ) -> None:
        self.work, self.settings, self.seed, self.folder, self.progress = (
            work,
            settings,
            seed,
            folder,
            progress,
        )
        self.accelerator = Accelerator()
        self.regime = combined(work.regime, regular.regime(model, settings, work.regime.decays))
        optimizer = adamw(
            model, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay, regime=self.regime
        )
        self.model: nn.Module = self.accelerator.prepare_model(model)
        self.bare: nn.Module = self.accelerator.unwrap_model(self.model)
        self.optimizer: Any = self.accelerator.prepare_optimizer(optimizer)
        self.state, warnings = checkpoint.resume(
            folder, work.fingerprint, self.bare, optimizer, restore=self.regime.restore
        )
        self.began = time.monotonic() - self.state.seconds
        self.plain_optimizer = optimizer
        self.skipped_in_a_row = 0
        for warning in warnings:
            progress.warn(f"{work.title}: {warning}")

    def run(self) -> checkpoint.State:
        state, steps = self.state, len(self.work.plan(0))
        total = steps * self.settings.epochs
        saved = time.monotonic()
        with self.progress.bar(self.work.title, total) as bar, deferred() as asked_to_stop:
            bar.advance(state.step)
            while not state.finished:
                self.regime.begin_epoch(state.epoch)
                plan = self.work.plan(state.epoch)
                for rows in plan[state.step - state.epoch * steps :]:
                    self._step(rows, total)
                    bar.advance(1, self._note())
                    if time.monotonic() - saved > 60 * self.settings.checkpoint_minutes:
                        self._save()
                        saved = time.monotonic()
                    if asked_to_stop():
                        self._save()
                        raise KeyboardInterrupt
                self._end_epoch()
                self._save()
                saved = time.monotonic()
                if asked_to_stop():
                    raise KeyboardInterrupt
            self._fill(bar, total)
        if state.best_step is not None:
            checkpoint.load_best(self.folder, state, self.bare)
        else:
            self.regime.swap()
        if self.work.epochs is not None:
            self.work.epochs.load(self.bare)
        self.bare.eval()
        self.accelerator.free_memory()
        return state

    def _step(self, rows: Rows, total: int) -> None:
        """One optimizer step, in as many parts as memory asks for."""
        factor = warmup_then_linear(self.state.step, total=total, warmup=self.settings.warmup)
        for group in self.plain_optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * factor * group["rate"]
        loss = self._gradient(rows, self.state.step / total)
        count = self.work.count(rows)
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip))
        problem = guard.check_finite(loss, norm)
        if problem:
            self._refuse(problem)
        else:
            self.optimizer.step()
            self.regime.after_step(self.state.step, total)
            self.skipped_in_a_row = 0
            self.state.running[0] += loss * count
            self.state.running[1] += count
        self.optimizer.zero_grad()
        self.state.step += 1

    def _gradient(self, rows: Rows, done: float) -> float:
        """Accumulate the gradient of the mean loss of a batch; the mean is over all its parts. Returns that mean."""
        while True:
            try:
                return self._gradient_in_parts(rows, min(self.state.parts, len(rows)), done)
            except (RuntimeError, MemoryError) as error:
                if not guard.is_out_of_memory(error):
                    raise
                # Gradients of the parts that did fit must not be counted twice.
                self.optimizer.zero_grad()
                if self.state.parts >= len(rows):
                    raise TrainingError(
                        f"{self.work.title}: a single example does not fit into memory",
                        expected="room for one example",
                        cure="lower `data.max_tokens` or `training.length`, or use a smaller model",
                    ) from error
            self.state.parts *= 2
            meaning = "each row is compared with fewer others" if self.work.compares_rows else "same result"
            self.progress.warn(
                f"{self.work.title}: out of memory; each batch now goes in {self.state.parts} parts ({meaning})"
            )

    def _gradient_in_parts(self, rows: Rows, parts: int, done: float) -> float:
        self.model.train()
        count = max(self.work.count(rows), 1)
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        total = 0.0
        for number, part in enumerate(np.array_split(rows, parts)):
            mine = part[rank::world]
            set_seed(_mix(self.seed, self.state.step, number * world + rank))
            with precision(self.settings.precision, self.bare):
                loss = self.work.loss(self.model, mine, done)
            if self.regime.penalty is not None:
                loss = loss + self.regime.penalty() * self.work.count(mine)
            loss = loss / count
            # Processes average their gradients; the sum over all rows is what is wanted.
            self.accelerator.backward(loss * world)
            total += float(self.accelerator.reduce(loss.detach(), "sum"))
        return total

    def _refuse(self, problem: str) -> None:
        self.state.skipped += 1
        self.skipped_in_a_row += 1
        if self.settings.on_nan == "stop" or self.skipped_in_a_row > guard.MOST_SKIPPED:
            raise guard.not_finite(
                problem,
                title=self.work.title,
                epoch=self.state.epoch,
                step=self.state.step,
                learning_rate=self.settings.learning_rate,
                skips=self.settings.on_nan == "skip",
            )
        self.progress.warn(f"{self.work.title}: {problem} at step {self.state.step}; the batch is left out")

    def _end_epoch(self) -> None:
        state = self.state
        total, count = state.running
        record, enough = {"epoch": float(state.epoch + 1), "loss": total / max(count, 1.0)}, False
        state.running = [0.0, 0.0]
        state.epoch += 1
        if self.work.validate is not None:
            self.bare.eval()
            self.regime.swap()
            score = self.work.validate(self.bare)
            record |= self.work.figures()
            enough = self._judge(score, record)
            if self.work.epochs is not None:
                self.work.epochs.keep(state.epoch, self.bare)
            self.regime.swap()
        state.history.append(record)
        patience = self.settings.patience
        tired = patience is not None and state.since_best >= patience
        given_up = self.work.hopeless(state.history)
        state.finished = enough or tired or given_up or state.epoch >= self.settings.epochs

    def _judge(self, score: float, record: dict[str, float]) -> bool:
        """Keep the weights if they are the best so far; returns whether they are good enough to end with."""
        state = self.state
        if not np.isfinite(score):
            self.progress.warn(f"{self.work.title}: the validation score is {score}; never kept as best")
            state.since_best += 1
            return False
        record["score"] = score
        enough = self.work.enough(record)
        if enough or state.best_score is None or score > state.best_score:
            state.best_score, state.best_step, state.since_best = score, state.step, 0
            checkpoint.save_best(self.folder, state, self.bare)
        else:
            state.since_best += 1
        return enough

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            more = self.regime.state()
            self.state.seconds = round(time.monotonic() - self.began, 2)
            checkpoint.save(self.folder, self.state, self.bare, self.plain_optimizer, more=more)

    def _note(self) -> str:
        total, count = self.state.running
        best = "" if self.state.best_score is None else f", best {self.state.best_score:.4f}"
        return f"epoch {self.state.epoch + 1}, loss {total / max(count, 1.0):.4f}{best}"

    def _fill(self, bar: Bar, total: int) -> None:
        if self.state.step < total:
            bar.advance(total - self.state.step, "stopped early")


def _mix(*parts: int) -> int:
    """One 32-bit seed from several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
