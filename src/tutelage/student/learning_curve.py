"""How much more text would help: a linear model learns from a quarter, half and all of the texts.

Every quarter and every half teaches one model, so that each text is used equally often and one lucky draw does not make
the curve. All are judged by the label loss of the same validation rows after calibration, as the ways to learn are, and
compared row by row. A student with layers may need other amounts; the direction is what this tells, in seconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Signals
from tutelage.artifacts.tokens import join
from tutelage.progress import Progress
from tutelage.recipe import StudentRecipe
from tutelage.student import balance, linear
from tutelage.student.linear import Array
from tutelage.training import supervised

TRAINING, EVERY = "training texts", "all texts"
# Into how many parts the texts are divided, each teaching one model.
_SHARES = (4, 2, 1)
_ERRORS = 1.96  # standard errors: 95 % of a normal distribution
# A gain that is sure but smaller than this share of the loss is not worth collecting texts for.
_WORTH = 0.01


def measure(
    teacher: Network, splits: Sequence[Split], told: Signals, validation: Split, *, seed: int, progress: Progress
) -> dict[str, Any]:
    """The curve of the training texts, which come first, and, with more splits, of all: see `LearningCurve`."""
    groups = _drawn([len(split) for split in splits], teacher.task.width)
    kinds = {TRAINING: groups[:1]} | ({EVERY: groups} if len(groups) > 1 else {})
    class_room = _ClassRoom(teacher, splits, told, validation)
    random, means, points = np.random.default_rng(seed), dict[str, list[Array]](), []
    with progress.bar("Measuring how much more text would help", len(kinds) * sum(_SHARES)) as bar:
        for kind, rows in kinds.items():
            shuffled = [np.array_split(random.permutation(group), _SHARES[0]) for group in rows]
            parts = [np.concatenate(quarter) for quarter in zip(*shuffled, strict=True)]
            means[kind] = []
            for models in _SHARES:
                losses = []
                for lesson in np.array_split(np.arange(len(parts)), models):
                    losses.append(class_room.losses(np.concatenate([parts[number] for number in lesson])))
                    bar.advance()
                means[kind].append(np.mean(losses, axis=0))
                points.append({"of": kind, "texts": sum(map(len, parts)) // models, "loss": _interval(means[kind][-1])})
    last = means[EVERY if EVERY in means else TRAINING]
    doubled = _interval(last[-2] - last[-1])
    beside = _interval(means[TRAINING][-1] - last[-1]) if EVERY in means else None
    return {
        "points": points,
        "doubled": doubled,
        "beside": beside,
        "sentence": _sentence(
            doubled,
            beside,
            before=float(last[-2].mean()),
            there=[len(splits[0]), sum(map(len, splits[1:]))],
            read=[len(groups[0]), sum(map(len, groups[1:]))],
        ),
    }


def _drawn(sizes: Sequence[int], outputs: int) -> list[NDArray[np.int64]]:
    """Rows of each split that are learned from. The others do not take the training texts' room, nor these theirs."""
    starts = np.cumsum([0, *sizes])
    mine = balance.sample(sizes[0], outputs)
    beside = starts[1] + balance.sample(int(starts[-1] - starts[1]), outputs)
    return [mine, *(beside[(beside >= begin) & (beside < end)] for begin, end in itertools.pairwise(starts[1:]))]


class _ClassRoom:
    """Where linear models learn from the teacher alone, and are judged on validation."""

    def __init__(self, teacher: Network, splits: Sequence[Split], told: Signals, validation: Split) -> None:
        self.teacher, self.targets = teacher, validation.targets
        tokens = join(*(teacher.tokenize(split.texts()) for split in splits))
        keys = np.concatenate([split.keys for split in splits])
        self.rows = linear.read(teacher, tokens)
        self.said = balance.spoken(teacher, told.outputs(told.find(keys), keys))
        self.judged = linear.read(teacher, teacher.tokenize(validation.texts()))

    def losses(self, rows: NDArray[np.int64]) -> Array:
        """Label losses of the validation rows (N,), of a model that learned from some rows."""
        unknown = torch.full((len(rows),), torch.nan)
        lesson = balance.lesson(StudentRecipe(), self.teacher.task, self.said[torch.from_numpy(rows)], unknown)
        pupil = linear.taught(self.rows[rows], lesson, self.teacher.task.width)
        centre, spread = supervised.units(self.teacher)
        return supervised.calibrated(self.teacher, pupil.outputs(self.judged) * spread + centre, self.targets)[1]


def _interval(values: Array) -> dict[str, float]:
    """A mean over validation rows, and where it is with 95 % confidence."""
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    return {"value": mean, "low": mean - _ERRORS * error, "high": mean + _ERRORS * error}


def _sentence(
    doubled: dict[str, float],
    beside: dict[str, float] | None,
    *,
    before: float,
    there: Sequence[int],
    read: Sequence[int],
) -> str:
    """In words; `there` and `read` count training texts and those beside them, of which a sample may be read."""
    if doubled["low"] <= 0:
        verdict = "that is not surely a gain, and more such text would hardly help"
    elif doubled["value"] < _WORTH * before:
        verdict = "that is sure but little: more such text would hardly help"
    else:
        verdict = "more such text would help"
    told = f"Twice as many texts changed the loss by {_change(doubled)}: {verdict}."
    if sum(read) < sum(there):
        told += f" ({sum(read):,} of {sum(there):,} texts, evenly drawn: with all of them it would be less.)"
    if beside is None:
        return told
    sure = "" if beside["low"] > 0 or beside["high"] < 0 else ", which is not surely a change"
    return f"{told} The {read[1]:,} texts beside the training texts changed it by {_change(beside)}{sure}."


def _change(gain: dict[str, float]) -> str:
    return f"{-gain['value']:+.4f} [{-gain['high']:+.4f}, {-gain['low']:+.4f}]"
