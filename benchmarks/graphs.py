"""Decision 0014: what each step away from a plainly exported graph is worth, students of one and two layers.

python benchmarks/graphs.py [--rows 2000] [--rounds 7]

Weights do not change how long a graph takes, so that nothing is trained. Every step keeps those before it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import ledger
from frozen import sentences
from tutelage import session
from tutelage.artifacts.batch import by_length
from tutelage.compress import export, quantize
from tutelage.encoding import Reading
from tutelage.student import initialise
from tutelage.student.build import Shape
from tutelage.teacher import load

SHAPES = {"two layers": Shape(2, 384, 12, 384), "one layer": Shape(1, 384, 12, 1536)}
BATCH_TOKENS = 1024
PLAIN = {
    "without the fusion of sums and layer norms": ("tutelage.session._SLOWER", []),
    "the last layer reads its inputs": ("tutelage.artifacts.first_token._plain", lambda _: False),
    "attention as one operator": ("tutelage.compress.export.attention_operator", lambda: "sdpa"),
    "embeddings made fp32 when loaded": ("tutelage.compress.quantize._ENDLESS", 0),
}
"""Each step, and what undoes it."""


@contextmanager
def undone(steps: list[str]) -> Iterator[None]:
    """Within the context the package works as it did before some steps."""
    with ExitStack() as stack:
        for step in steps:
            stack.enter_context(mock.patch(*PLAIN[step]))
        if "attention as one operator" in steps:
            stack.enter_context(mock.patch("tutelage.compress.export.OPSET", 20))
        yield


def measured(network: Any, texts: list[str], folder: Path, rounds: int) -> list[tuple[float, float]]:
    """Milliseconds of the plain graph and of each step, and how many times as fast as the plain one: medians."""
    tokens = network.tokenize(texts)
    batches = [network.collate(tokens, rows) for rows in by_length(tokens.lengths, tokens=BATCH_TOKENS)]
    feeds = [{"input_ids": one.input_ids.numpy(), "attention_mask": one.attention_mask.numpy()} for one in batches]
    running = []
    for number in range(len(PLAIN) + 1):
        with undone(list(PLAIN)[number:]):
            whole = export.export(network, folder / f"{number}.onnx", texts=texts[:64]).file
            quantize.int8(whole, folder / f"{number}.int8.onnx")
            running.append(session.start(str(folder / f"{number}.int8.onnx"), threads=0))
    times = np.zeros((rounds + 1, len(running)))
    for turn in times:
        for place, one in enumerate(running):
            start = time.perf_counter()
            for feed in feeds:
                one.run(["logits"], feed)
            turn[place] = 1000 * (time.perf_counter() - start)
    kept = times[1:]  # the first warms up
    return list(zip(np.median(kept, axis=0), np.median(kept[:, :1] / kept, axis=0), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        corpus = sentences(given.rows, Path(name))
        texts = corpus["train"].texts()
        teacher, _ = load.load("minilm", corpus.task, Reading(128), seed=0)
        every = range(teacher.model.config.vocab_size)
        for shape in SHAPES.values():
            student = initialise.create(teacher, shape, tokenizer=teacher.tokenizer, kept=every, seed=0)
            found.append(measured(student, texts, Path(name), given.rounds))
    ledger.record(
        "What a small graph spends its time on",
        f"python benchmarks/graphs.py --rows {given.rows} --rounds {given.rounds}",
        [
            f"{len(texts):,} movie sentences, by length, in batches of {BATCH_TOKENS:,} tokens; the graph alone,",
            "in int8, without a wide part. Milliseconds for all, and how many times as fast as the plain graph:",
            "medians of paired rounds in one process.",
            "",
            f"| step | {' | '.join(f'{name}, ms | x' for name in SHAPES)} |",
            "|---|" + "---|---|" * len(SHAPES),
            *(
                f"| {step} | {' | '.join(f'{ms:.0f} | {ratio:.2f}' for ms, ratio in row)} |"
                for step, row in zip(["plain", *PLAIN], zip(*found, strict=True), strict=True)
            ),
        ],
    )


if __name__ == "__main__":
    main()
