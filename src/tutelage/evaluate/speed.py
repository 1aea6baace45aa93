"""How fast models answer: text in, prediction out, all in one process, in turns.

Every contender gets the batch size that suits it best, found first. Then all take turns on the same texts, so that a
machine that slows down slows them all; the median round counts. How much other programs used meanwhile is noted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.artifacts.batch import by_length
from tutelage.artifacts.network import Network
from tutelage.evaluate import bystanders
from tutelage.progress import Progress

# Padded tokens in a batch. Small batches stay in the cache of a CPU, large ones spread the cost of a call.
BATCHES = (512, 2048, 8192)
_ROUNDS = 3
_SINGLE = 100
_SEARCH_SHARE = 4

Run = Callable[[list[str], int], object]


@dataclass(frozen=True)
class Contender:
    """Something that answers; `run` takes texts and the padded tokens of a batch."""

    model: str
    runtime: str
    run: Run
    batches: Sequence[int] = BATCHES


@dataclass(frozen=True)
class Speed:
    """Rows a second with the best batch, and milliseconds for one text alone."""

    rows_per_second: float
    batch_tokens: int
    p50: float
    p95: float


@dataclass(frozen=True)
class Timed:
    """All contenders of one session."""

    speeds: dict[tuple[str, str], Speed]
    """By (model, runtime)."""
    other_programs: float | None
    """What others used of all cores meanwhile, from 0 to 1; None: not known."""


def pytorch(network: Network) -> Run:
    """Tokenise, sort by length, run, softmax: what a careful user of PyTorch would do."""
    import torch

    def run(texts: list[str], budget: int) -> object:
        tokens = network.tokenize(texts)
        outputs = np.empty((len(texts), network.task.width), dtype=np.float32)
        with torch.inference_mode():
            for rows in by_length(tokens.lengths, tokens=budget):
                outputs[rows] = network.forward(network.collate(tokens, rows))[0].cpu().numpy()
        return network.task.decode(network.task.predict(outputs))

    return run


def packed(bundle: Any) -> Run:
    """A bundle, as it is deployed."""
    return lambda texts, budget: bundle.predict(texts, batch_tokens=budget)


def spread(texts: Sequence[str], count: int) -> list[str]:
    """So many of some texts at most, evenly spread: a file may be sorted by class, or by length."""
    places = np.linspace(0, len(texts) - 1, min(count, len(texts))).astype(int)
    return [texts[place] for place in places]


def measure(
    contenders: Sequence[Contender], texts: list[str], *, progress: Progress, read: bystanders.Read = bystanders.now
) -> Timed:
    """Rows a second and latency of each; `read` gives the machine's counters."""
    before = read()
    speeds = _in_turns(contenders, texts, progress)
    return Timed(speeds, bystanders.share(before, read()))


def _in_turns(contenders: Sequence[Contender], texts: list[str], progress: Progress) -> dict[tuple[str, str], Speed]:
    some = spread(texts, max(1, len(texts) // _SEARCH_SHARE))
    result = {}
    with progress.bar("Measuring speed", len(contenders) * (_ROUNDS + 2)) as bar:
        best = {}
        for place, contender in enumerate(contenders):
            contender.run(some[:8], contender.batches[0])  # warm up
            times = {budget: _seconds(contender.run, some, budget) for budget in contender.batches}
            best[place] = min(times, key=times.__getitem__)
            bar.advance(1)
        rounds: dict[int, list[float]] = {place: [] for place in best}
        for _ in range(_ROUNDS):
            for place, contender in enumerate(contenders):
                rounds[place].append(_seconds(contender.run, texts, best[place]))
                bar.advance(1)
        for place, contender in enumerate(contenders):
            single = [1000 * _seconds(contender.run, [text], best[place]) for text in spread(texts, _SINGLE)]
            p50, p95 = np.percentile(single, [50, 95])
            rate = len(texts) / float(np.median(rounds[place]))
            result[contender.model, contender.runtime] = Speed(rate, best[place], float(p50), float(p95))
            bar.advance(1)
    return result


def _seconds(run: Run, texts: list[str], budget: int) -> float:
    start = time.perf_counter()
    run(texts, budget)
    return time.perf_counter() - start
