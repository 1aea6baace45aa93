"""Let the wide part answer alone where it is sure, and run the layers only for the rest: one graph, one answer.

The wide part's scores come first; where they are not sure, a cheaper student may come before the student itself. The
idea is that of classifier cascades (Viola and Jones 2001); for Transformers see "FrugalGPT", Chen et al. 2023, arXiv
2305.05176. How the graph is put together is in `levels.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from tutelage.artifacts.network import Network
from tutelage.artifacts.tokens import Tokens
from tutelage.artifacts.wide import Wide
from tutelage.compress import levels
from tutelage.compress.compare import Choice, Judge
from tutelage.compress.export import trace, trace_rows
from tutelage.compress.levels import Level
from tutelage.recipe import CompressRecipe
from tutelage.tasks import Task

# Fewer sure rows are not worth a second path through the graph.
_LEAST_SHARE = 0.05
_STEPS = 40
# A small gain is within the noise of its measurement.
_LEAST_GAIN = 1.1
_ROUNDING = 1e-9
_ROUNDS, _AGREED = 10, 0.01
# Softmax and the like are at most 1.
_NEVER = 2.0


@dataclass(frozen=True)
class Middle:
    """A cheaper student that answers where the wide part is not sure and it is."""

    graph: Path
    threshold: float
    share: float
    """Of the validation rows that it answers."""


@dataclass(frozen=True)
class Gate:
    """From which confidence on the wide part answers alone, and who comes before the layers, if anyone."""

    threshold: float
    temperature: float
    """What the wide part's scores are divided by when they stand alone."""
    share: float
    """Of the validation rows that it answers."""
    cost: float
    """What that is expected to cost of the headline score, if the student's own probabilities are right."""
    middle: Middle | None = None


def choose(
    whole: Path, file: Path, judge: Judge, settings: CompressRecipe, *, middle: Path | None = None
) -> tuple[Path, list[Choice]]:
    """Write a cascade before the graph `whole` if that pays, and say which graph to deploy.

    `middle` is the graph of a cheaper student of the same tokens, to stand between the wide part and `whole`. The
    cascade must be measured faster here and cost no more of the validation score than `cascade_loss`; when it is asked
    for, only the cost matters. Nothing is said where the task knows no confidence or the student has no wide part.
    """
    found = None
    if settings.cascade:
        found = gate(judge, whole, allowed=settings.cascade_loss, middle=middle)
    if found is None:
        return whole, []
    write(judge.network, whole, found, file)
    before, after = (judge.score(judge.outputs(graph)) for graph in (whole, file))
    lost, ratio = judge.lost(before, after), judge.speed_ratio(whole, file)
    figures = {
        "share_answered_alone": found.share,
        "confidence_needed": found.threshold,
        "expected_cost": found.cost,
        "score_without": before,
        "score_with": after,
        "speed_with_over_without": ratio,
    }
    measured = judge.measured(ratio, lost)
    taken, why = f"the wide part alone for {found.share:.0%} of the rows", measured
    if found.middle is not None:
        figures |= {"share_answered_second": found.middle.share, "confidence_needed_second": found.middle.threshold}
        taken += f", a cheaper student for {found.middle.share:.0%}"
    if lost > settings.cascade_loss + _ROUNDING:
        taken, why = "none", f"it costs more than the allowed {settings.cascade_loss:g}: {measured}"
    elif ratio < _LEAST_GAIN and settings.cascade == "auto":
        taken, why = "none", f"it is hardly faster: {measured}"
    return whole if taken == "none" else file, [Choice("cascade", taken, why, figures)]


def gate(judge: Judge, whole: Path, *, allowed: float, middle: Path | None = None) -> Gate | None:
    """The thresholds of least work that cost at most `allowed` of the headline score, expected and on the labels.

    `whole` is the graph of the student that answers the rest. None where the task knows no confidence, too few rows
    could be answered, or rows are read in windows: the graph decides for each window, the labels are of the row.
    """
    if judge.network.reading.long_text == "window":
        return None
    task, scores = judge.network.task, _scores(judge.network, judge.tokens)
    if scores is None or task.confidence(torch.from_numpy(scores)) is None:
        return None
    temperature = _temperature(task, scores, judge.targets)
    said = judge.outputs(whole)
    price = _Price(judge, said, allowed)
    first = _Answers.of(judge, scores / temperature, said)
    if middle is None:
        taken = price.most(first, said, np.zeros(len(said), dtype=bool))
        return None if taken is None else Gate(first.threshold(taken), temperature, *price.told(first, taken))
    second = _Answers.of(judge, judge.outputs(middle), said)
    times = judge.speed_ratio(whole, middle)
    best, least = None, np.inf
    for sure in first.prefixes(least=0.0):
        after = np.where(sure[:, None], first.outputs, said)
        if not price.allows(after, first.price[sure].sum()):
            continue
        taken = price.most(second, after, sure, spent=float(first.price[sure].sum()))
        if taken is None:
            continue
        work = (~sure).mean() / times + (~sure & ~taken).mean()
        if work < least:
            share, cost = price.told(first, sure)
            cost += price.told(second, taken)[1]
            least = work
            found = Middle(middle, second.threshold(taken), float(taken.mean()))
            best = Gate(first.threshold(sure), temperature, share, cost, found)
    return best


@dataclass(frozen=True)
class _Answers:
    """What a cheap level says of N rows, how sure it is, and what each row is expected to cost."""

    outputs: NDArray[Any]
    sure: NDArray[Any]
    price: NDArray[Any]

    @classmethod
    def of(cls, judge: Judge, outputs: NDArray[Any], said: NDArray[Any]) -> _Answers:
        task = judge.network.task
        price = task.expected_cost(task.predict(said), task.predict(outputs))
        return cls(outputs, np.asarray(task.confidence(torch.from_numpy(outputs))), price)

    def prefixes(self, *, least: float, among: NDArray[np.bool_] | None = None) -> Iterator[NDArray[np.bool_]]:
        """Which rows are answered (N,), from all that may be down to a share of them: those it is surest of."""
        places = np.arange(len(self.sure)) if among is None else np.flatnonzero(among)
        order = places[np.argsort(-self.sure[places], kind="stable")]
        fewest = math.ceil(least * len(self.sure) - _ROUNDING)
        if len(order) < fewest:
            return
        for count in np.unique(np.linspace(fewest, len(order), _STEPS).astype(int))[::-1]:
            taken = np.zeros(len(self.sure), dtype=bool)
            if count:
                taken[places] = self.sure[places] >= self.sure[order[count - 1]]
            yield taken

    def threshold(self, taken: NDArray[np.bool_]) -> float:
        """That lets just these rows keep their answers; above every confidence where there are none."""
        return float(self.sure[taken].min()) if taken.any() else _NEVER


@dataclass(frozen=True)
class _Price:
    """What answers cost of the headline score, next to what the whole student said."""

    judge: Judge
    said: NDArray[Any]
    allowed: float

    def allows(self, outputs: NDArray[Any], expected: float) -> bool:
        """Whether answers cost little enough; `expected` is the sum over rows."""
        lost = self.judge.lost(self.judge.score(self.said), self.judge.score(outputs))
        return max(expected / len(self.said), lost) <= self.allowed + _ROUNDING

    def most(
        self, level: _Answers, others: NDArray[Any], gone: NDArray[np.bool_], *, spent: float = 0.0
    ) -> NDArray[np.bool_] | None:
        """The most rows that a level may answer of those that are not `gone`; None where too few."""
        for taken in level.prefixes(least=_LEAST_SHARE, among=~gone):
            if self.allows(np.where(taken[:, None], level.outputs, others), spent + float(level.price[taken].sum())):
                return taken
        return None

    def told(self, level: _Answers, taken: NDArray[np.bool_]) -> tuple[float, float]:
        """(share of the rows, expected cost)."""
        return float(taken.mean()), float(level.price[taken].sum() / len(taken))


def _temperature(task: Task, scores: NDArray[np.float32], targets: NDArray[np.float64]) -> float:
    """The best temperature of scores of any scale: a task bounds what it finds, so that it is asked until it agrees."""
    total = 1.0
    for _ in range(_ROUNDS):
        found = task.temperature(scores / total, targets)
        total *= found
        if abs(found - 1) < _AGREED:
            break
    return total


def write(network: Network, whole: Path, gate: Gate, file: Path) -> None:
    """Write the graph: input_ids (B, T) and attention_mask (B, T), both int64 -> logits (B, K), and who answered."""
    assert network.wide is not None
    task, part = network.task, file.with_name("first.onnx")
    first = _First(network.wide, task, gate.temperature)
    trace(first, part, names=["alone", "confidence"], max_tokens=network.reading.max_tokens)
    found = [Level(_taken(part), gate.threshold)]
    if gate.middle is not None:
        trace_rows(_Sure(task), part, width=task.width, names=["outputs", "confidence"])
        found.append(
            Level(levels.with_confidence(onnx.load(str(gate.middle.graph)), _taken(part)), gate.middle.threshold)
        )
    levels.write(found, onnx.load(str(whole)), outputs=task.width, file=file)


def _taken(file: Path) -> Any:
    model = onnx.load(str(file))
    file.unlink()
    return model


class _Sure(nn.Module):
    """How sure outputs (B, K) are (B,)."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, outputs: torch.Tensor) -> Any:
        return self.task.confidence(outputs)


class _First(nn.Module):
    """The wide part alone: its calibrated scores (S, K), and how sure it is (S,)."""

    def __init__(self, wide: Wide, task: Task, temperature: float) -> None:
        super().__init__()
        self.wide, self.task, self.temperature = wide, task, temperature

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, Any]:
        alone = self.wide(input_ids, attention_mask) / self.temperature
        return alone, self.task.confidence(alone)


def _scores(network: Network, tokens: Tokens) -> NDArray[np.float32] | None:
    """What the wide part says alone (N, K), not calibrated."""
    if network.wide is None or not network.layers:
        return None
    result = np.empty((len(tokens), network.task.width), dtype=np.float32)
    for begin in range(0, len(tokens), 256):
        rows = np.arange(begin, min(begin + 256, len(tokens)))
        batch = network.collate(tokens, rows)
        result[rows] = batch.pool(network.wide(batch.input_ids, batch.attention_mask)).cpu().numpy()
    return result
