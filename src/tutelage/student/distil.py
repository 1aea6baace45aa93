"""Teach a student what its teacher said.

    loss of a row = prediction * (alpha * T^2 * outputs(student, teacher; T) + (1 - alpha) * labels(student))
                    + hidden * states + attention * attention(student, teacher) + relations * relations(...)

The loss of a batch is the mean over its rows. Rows without a label have no label term. What is compared token by token
is averaged over a row's tokens first. How each is compared is in `losses/`, which layers in `matching.py`, how alpha
and T may fall on the way in `decline.py`, how weights may change from stage to stage in `stages.py`, and how they may
follow from what is learned in `weighting.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tutelage import storage
from tutelage.artifacts.corpus import Split
from tutelage.artifacts.mixture import Mixture
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Signals
from tutelage.artifacts.tokens import Tokens, join
from tutelage.errors import ModelError
from tutelage.progress import Progress
from tutelage.recipe import StudentRecipe
from tutelage.student import build, curriculum, decline, following, growth, losses, matching, weighting
from tutelage.student.growth import Step
from tutelage.student.learner import Learner, Told
from tutelage.student.losses import HIDDEN_LOSSES
from tutelage.student.matching import Plan
from tutelage.student.weighting import Term
from tutelage.training import checkpoint, regular, supervised
from tutelage.training.hope import Hope
from tutelage.training.lean import needed_positions, used_embeddings
from tutelage.training.loop import Loss, Work, train
from tutelage.training.precision import exact
from tutelage.training.regular.turn import Turn


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
    copied: NDArray[np.bool_]
    """(N,): which rows are changed copies of others."""
    mixture: Mixture | None = None
    """How often rows are drawn; None where each is once an epoch."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def once(self) -> NDArray[np.int64]:
        """The rows of an epoch: what linear models learn from."""
        return self.mixture.epoch(0) if self.mixture else np.arange(len(self))

    def take(self, rows: NDArray[np.int64]) -> Transfer:
        """Some rows, in the order given."""
        return Transfer(
            self.tokens.take(rows),
            self.targets[rows],
            storage.fingerprint_of(self.name, rows.tolist()),
            self.keys[rows],
            self.signal_rows[rows],
            self.copied[rows],
        )


def transfer_set(student: Network, splits: Sequence[Split], signals: Signals) -> Transfer:
    """Put the training texts and all unlabelled ones together.

    Raises `ModelError` where tokens are to be matched and student and teacher do not split every text alike.
    """
    keys = np.concatenate([split.keys for split in splits])
    transfer = Transfer(
        join(*(student.tokenize(split.texts()) for split in splits)),
        np.concatenate([split.targets for split in splits]),
        storage.fingerprint_of(signals.folder.name, [split.fingerprint for split in splits]),
        keys,
        signals.find(keys),
        np.concatenate([split.copied for split in splits]),
        _mixture(splits),
    )
    if signals.recording.channels:
        texts = [text for split in splits for text in split.texts()]
        refuse_other_tokens(student, transfer.tokens, signals.splits(transfer.signal_rows, keys), texts)
    return transfer


def _mixture(splits: Sequence[Split]) -> Mixture | None:
    """Of several splits, of which at most the first draws its rows unevenly."""
    first, *others = splits
    return first.mixture and first.mixture.and_all_of(sum(map(len, others)))


def refuse_other_tokens(student: Network, tokens: Tokens, theirs: NDArray[np.uint64], texts: Sequence[str]) -> None:
    """Raise `ModelError` where texts (N,) are other tokens to a student than to its teacher.

    `theirs` (N,) says how the teacher splits them: see `Network.splits`.
    """
    other = np.flatnonzero((student.splits(tokens) != theirs) | (np.diff(tokens.first) != 1))
    if len(other):
        raise ModelError(
            f"{len(other)} texts are not the same tokens to student and teacher, the first: "
            f"{texts[int(other[0])][:80]!r}",
            expected="equal tokens, since hidden states, attention or relations are matched token by token",
            cure="leave out `student.vocabulary_size` or take `student.vocabulary: keep`; or match averages over "
            "texts (`hidden_of: text`, `attention: 0`, `relations: 0`)",
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
    plan: Plan | None = None,
    hope: Hope | None = None,
) -> checkpoint.State:
    """Train a student in place on recorded signals; units and calibration are folded into its head.

    By default its layers 1, 2 ... follow the recorded ones, in order. A training in one stage ends when `hope` is lost.
    Returns the state at the end, with the history of all stages.
    """
    torch.manual_seed(seed)
    if plan is None:
        plan = matching.of_recorded(signals.recording) if settings.weighs("hidden") else Plan()
    width, wide = int(student.model.config.hidden_size), signals.recording.width or signals.recording.token_width
    learner = Learner(
        student.model,
        plan,
        width=width,
        teacher_width=wide if HIDDEN_LOSSES[settings.hidden_loss].needs_same_width else width,
        uncertain=settings.weighting == "uncertainty",
    )
    name = supervised.fingerprint(student, settings, seed, transfer.name, validation.fingerprint)
    # Everything else follows from where the training starts, a later stage's start too.
    lesson = _Lesson(student, learner, transfer, signals, validation, plan, seed, progress)
    steps = growth.steps(settings, build.shape_of(student.model.config).layers)
    if settings.stages is None and len(steps) == 1:
        name = storage.fingerprint_of(name, vars(hope)) if hope else name
        state = replace(lesson, hope=hope).learn(steps[0], name, folder, "Distilling the student")
    else:
        state = _in_steps(lesson, steps, name, folder, copies=bool(settings.growth and settings.growth.new == "copy"))
    supervised.finish(student, validation)
    return state


def _batches(  # noqa: PLR0917 - called once
    student: Network, transfer: Transfer, signals: Signals, settings: StudentRecipe, plan: Plan, seed: int
) -> Callable[[int], list[NDArray[np.int64]]]:
    """The plan of the training: all texts that teach something in every epoch, unless there is a curriculum."""
    labelled = np.flatnonzero(~np.isnan(transfer.targets))
    # Of labels alone, texts without one teach nothing: they would only make batches of nothing, and steps by what the
    # optimizer remembers. They stand behind the others.
    alone = settings.alpha == 0 and not plan and not settings.r_drop and 0 < len(labelled) == 1 + int(labelled[-1])
    count = len(labelled) if alone else len(transfer)
    if settings.curriculum is None:
        tokens = transfer.tokens.take(labelled) if count < len(transfer) else transfer.tokens
        return supervised.batches(tokens, settings, seed, transfer.mixture and transfer.mixture.first(count))
    known = curriculum.Known(
        student,
        transfer.tokens.lengths[:count],
        transfer.targets[:count],
        lambda: signals.outputs(transfer.signal_rows[:count], transfer.keys[:count]),
    )
    return curriculum.batches(known, settings, seed)


def _in_steps(lesson: _Lesson, steps: Sequence[Step], name: str, folder: Path, *, copies: bool) -> checkpoint.State:
    history: list[dict[str, float]] = []
    state = checkpoint.State(name)
    for number, step in enumerate(steps, start=1):
        if copies and number > 1:
            growth.put_on(lesson.student.model, steps[number - 2].layers, step.layers)
        state = lesson.learn(
            step,
            storage.fingerprint_of(name, number),
            folder / f"stage-{number}",
            f"Distilling the student, stage {number} of {len(steps)}",
        )
        done = len(history)
        history += [{**epoch, "epoch": done + epoch["epoch"], "stage": float(number)} for epoch in state.history]
    return replace(state, history=history)


@dataclass(frozen=True)
class _Lesson:
    """All that the stages of a training have in common."""

    student: Network
    learner: Learner
    transfer: Transfer
    signals: Signals
    validation: Split
    plan: Plan
    seed: int
    progress: Progress
    hope: Hope | None = None

    def learn(self, step: Step, name: str, folder: Path, title: str) -> checkpoint.State:
        """One stage, or all of it."""
        with growth.lower(self.student.model, step.layers):
            return self._learn(step.settings, self.plan.of(step.settings).up_to(step.layers), name, folder, title)

    def _learn(self, settings: StudentRecipe, plan: Plan, name: str, folder: Path, title: str) -> checkpoint.State:
        student, learner = self.student, self.learner
        learner.plan = plan
        of_states = HIDDEN_LOSSES[settings.hidden_loss]
        of_outputs = losses.choose(settings.loss, student.task)
        told = self.signals.only(() if plan.by_token else plan.theirs, plan.channels(1))
        texts = [self.transfer.tokens, student.tokenize(self.validation.texts())]
        # Following the last layer needs every position of it; outputs alone need what the head reads.
        every: AbstractContextManager[Any] = nullcontext()
        with used_embeddings(student, texts) as (tokens, judged):
            if not plan.everywhere:
                every = needed_positions(student, tokens, dropout=settings.dropout)
            with every:
                work = Work(
                    title,
                    name,
                    _batches(student, self.transfer, self.signals, settings, plan, self.seed),
                    _loss(student, replace(self.transfer, tokens=tokens), told, settings, plan),
                    # Of a head that does not learn, validation says nothing.
                    supervised.Exam(student, judged, self.validation.targets).score if settings.prediction else None,
                    learner.figures,
                    compares_rows=(settings.prediction > 0 and of_outputs.compares_rows)
                    or (bool(plan.ours) and of_states.compares_rows),
                    hopeless=self.hope.lost if self.hope else lambda _: False,
                    regime=learner.regime(),
                )
                return train(learner, work, settings, seed=self.seed, folder=folder, progress=self.progress)


def _loss(student: Network, transfer: Transfer, signals: Signals, settings: StudentRecipe, plan: Plan) -> Loss:
    centre, spread = supervised.units(student)
    targets = supervised.standardised(student, transfer.targets)
    of_outputs = losses.choose(settings.loss, student.task).compute

    def loss(model: nn.Module, rows: NDArray[np.int64], done: float) -> torch.Tensor:
        alpha, temperature = decline.alpha(settings, done), decline.temperature(settings, done)
        batch = student.collate(transfer.tokens, rows)
        told = signals.take(transfer.signal_rows[rows], transfer.keys[rows])
        channels, states = signals.recording.channels, np.empty(0, dtype=np.float32)
        if channels:
            states = signals.tokens(transfer.signal_rows[rows], transfer.keys[rows]).astype(np.float32)

        def judge(ours: Told) -> torch.Tensor:
            outputs = ours.outputs
            said = torch.from_numpy((told["outputs"] - centre) / spread).to(outputs)
            labels = targets[rows].to(outputs.device)
            terms = []
            if settings.prediction:
                told_rows = temperature**2 * of_outputs(outputs, said, labels, temperature)
                if settings.weighting == "wsl":
                    told_rows = told_rows * weighting.worth_following(outputs, said, labels, student.task)
                terms.append(Term("teacher", settings.prediction * alpha, told_rows))
                if alpha < 1:
                    known = ~labels.isnan()
                    of_labels = student.task.label_loss(outputs[known], labels[known])
                    terms.append(Term("labels", settings.prediction * (1 - alpha), of_labels))
            if plan:
                theirs = ours.tokens
                if channels:
                    # The teacher read the same tokens, so its states stand at the same places.
                    theirs = replace(theirs, values=torch.from_numpy(states).to(outputs), channels=channels)
                pooled = torch.from_numpy(told["hidden"].astype(np.float32)).to(outputs)
                # Products of vectors are compared: rounded, small differences would vanish.
                with exact():
                    terms += following.terms(ours, theirs, pooled, settings, plan)
            return weighting.total(terms, ours.log_variances)

        turn = Turn(student, batch, lambda: model(batch), judge, attrgetter("outputs"))
        return regular.loss(turn, settings)

    return loss
