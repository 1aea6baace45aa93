"""Eight-bit weights and activations, taken only when they are measured to be worth it.

Per-channel scales with a reduced range: on processors without VNNI the full range overflows inside the 16-bit sums
(cosine to fp32 0.993, against 0.967 and 0.883 for the other settings, measured on a 6-layer encoder).
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tutelage import storage
from tutelage.artifacts.network import Network
from tutelage.artifacts.tokens import Tokens
from tutelage.compress.run import outputs, session
from tutelage.recipe import CompressRecipe, Precision

_ROUNDS = 5
_TIMED_ROWS = 256


@dataclass(frozen=True)
class Choice:
    """Which of two graphs was taken, why, and on what evidence."""

    taken: Precision
    why: str
    figures: dict[str, float]


def int8(source: Path, goal: Path) -> None:
    """Quantise the weights to int8 ahead of time, the activations when they are known (dynamic quantisation)."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with storage.whole_file(goal) as partial:
            quantize_dynamic(source, partial, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    finally:
        log.setLevel(level)


def choose(
    fp32: Path,
    quantised: Path,
    network: Network,
    *,
    tokens: Tokens,
    targets: NDArray[np.float64],
    settings: CompressRecipe,
    threads: int,
) -> Choice:
    """Measure both graphs on validation rows: int8 must be faster here and lose no more than allowed.

    The score lost is absolute, on the headline metric. With `int8` or `none` asked for, it is only measured.
    """
    metric = network.task.headline
    scores = [_score(file, network, tokens=tokens, targets=targets, threads=threads) for file in (fp32, quantised)]
    lost = (scores[0] - scores[1]) * (1 if metric.higher_is_better else -1)
    ratio = _speed_ratio(fp32, quantised, network, tokens=tokens, threads=threads)
    figures = {
        "score_fp32": scores[0],
        "score_int8": scores[1],
        "speed_int8_over_fp32": ratio,
        "bytes_fp32": float(fp32.stat().st_size),
        "bytes_int8": float(quantised.stat().st_size),
    }
    measured = f"{ratio:.2f} x as fast here, {metric.title.lower()} {-lost:+.4f} on validation"
    if settings.quantize == "int8":
        return Choice("int8", f"asked for; {measured}", figures)
    if ratio <= 1.0:
        return Choice("fp32", f"int8 is not faster on this machine: {measured}", figures)
    if lost > settings.allowed_loss:
        return Choice("fp32", f"int8 costs more than the allowed {settings.allowed_loss:g}: {measured}", figures)
    return Choice("int8", measured, figures)


def _score(file: Path, network: Network, *, tokens: Tokens, targets: NDArray[np.float64], threads: int) -> float:
    answers = network.task.predict(outputs(file, network, tokens, threads=threads))
    return network.task.headline.compute(answers, targets)


def _speed_ratio(fp32: Path, quantised: Path, network: Network, *, tokens: Tokens, threads: int) -> float:
    """Median over paired rounds of the time of fp32 over that of int8, on the same rows."""
    rows = np.arange(min(len(tokens), _TIMED_ROWS))
    batches = []
    for part in np.array_split(rows[np.argsort(tokens.lengths[rows])], max(1, len(rows) // 16)):
        batch = network.collate(tokens, part)
        batches.append({"input_ids": batch.input_ids.numpy(), "attention_mask": batch.attention_mask.numpy()})
    sessions = [session(file, threads=threads) for file in (fp32, quantised)]
    ratios = []
    for number in range(_ROUNDS + 1):
        times = []
        for running in sessions:
            start = time.perf_counter()
            for feed in batches:
                running.run(None, feed)
            times.append(time.perf_counter() - start)
        if number:  # the first round warms up
            ratios.append(times[0] / times[1])
    return float(np.median(ratios))
