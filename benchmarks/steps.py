"""What half precision does to a step of training, by a student's width: milliseconds in fp32 and in bf16, in turns.

A step is forward, backward, clipping and AdamW over 32 movie sentences; embeddings are those of the texts' tokens. The
least of four passes over 1,000 sentences. *First token*: the last layer computes nothing else.

python benchmarks/steps.py
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import torch

import ledger
from tutelage.artifacts.batch import plan
from tutelage.artifacts.network import Network, forward
from tutelage.artifacts.tokens import Tokens
from tutelage.compress import vocabulary
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.encoding import Reading
from tutelage.student import initialise
from tutelage.student.build import Shape
from tutelage.tasks import TextClassification
from tutelage.teacher import load
from tutelage.training.lean import needed_positions, used_embeddings
from tutelage.training.loop import set_dropout
from tutelage.training.precision import has_units, precision

SHAPES = (
    *(Shape(2, 64, 4, 256), Shape(2, 128, 4, 512), Shape(1, 192, 4, 768), Shape(2, 256, 4, 1024)),
    *(Shape(1, 384, 12, 1536), Shape(2, 384, 12, 384)),
)
ROWS, ROUNDS, BATCH = 1000, 4, 32


def milliseconds(network: Network, tokens: Tokens) -> dict[str, float]:
    """Of a step, by precision."""
    weights = [weight for weight in network.model.parameters() if weight.requires_grad]
    optimizer: Any = torch.optim.AdamW(weights, lr=1e-4, fused=True)
    batches, found = plan(tokens.lengths, batch_size=BATCH, seed=0, epoch=0), dict[str, list[float]]()
    network.model.train()
    for _ in range(ROUNDS):
        for wanted in ("fp32", "bf16"):
            began = time.perf_counter()
            for rows in batches:
                with precision(wanted, network.model):
                    outputs, _ = forward(network.model, network.collate(tokens, rows))
                torch.autograd.backward(outputs.square().mean())
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()
                optimizer.zero_grad()
            found.setdefault(wanted, []).append(1000 * (time.perf_counter() - began) / len(batches))
    return {wanted: min(times) for wanted, times in found.items()}


def main() -> None:
    if not has_units():
        raise SystemExit("this processor has no units for bf16: there is nothing to compare")
    texts = [row.text for row in vader.rows("movie", vader.fetch(Terminal()))][:ROWS]
    teacher, _ = load.load("minilm", TextClassification(("negative", "positive")), Reading(128), seed=0)
    words = vocabulary.keep(teacher.tokenizer)
    lines = ["| layers x width | first token | every token |", "|---|---|---|"]
    for shape in SHAPES:
        student = initialise.create(teacher, shape, tokenizer=words.tokenizer, kept=words.kept, seed=0)
        set_dropout(student.model, 0.0)
        cells = []
        with used_embeddings(student, [student.tokenize(texts)]) as (tokens,):
            for lean in (True, False):
                with needed_positions(student, tokens, dropout=0.0) if lean else nullcontext():
                    found = milliseconds(student, tokens)
                cells.append(f"{found['fp32']:.1f}, {found['bf16']:.1f}")
        lines.append(f"| {shape.layers} x {shape.width} | {' | '.join(cells)} |")
    ledger.record(
        "Steps in half precision",
        "python benchmarks/steps.py",
        ["Milliseconds of a training step, fp32 and bf16, by what the last layer computes.", "", *lines],
    )


if __name__ == "__main__":
    main()
