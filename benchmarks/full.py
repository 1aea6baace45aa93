"""Fine-tuning everything: tokens a second of the loop here and of the Trainer of `transformers`, at equal score.

python benchmarks/full.py [--rows 2000] [--epochs 1] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import frozen
import ledger
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.encoding import Reading
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.teacher import load

DROPOUT = 0.1  # of the model's own configuration, which the Trainer leaves as it is
GROUPED = {"train_sampling_strategy": "group_by_length"}
Way = Callable[[Network, Corpus, TeacherRecipe, int], float]


def halved(network: Network, corpus: Corpus, settings: TeacherRecipe, seed: int) -> float:
    """The loop here, in bf16."""
    return frozen.ours(network, corpus, settings.model_copy(update={"precision": "bf16"}), seed)


WAYS: dict[str, Way] = {
    "Tutelage": frozen.ours,
    "Tutelage, bf16": halved,
    "Trainer, its defaults and dynamic padding": partial(frozen.trainer, dropout=DROPOUT),
    "... grouped by length": partial(frozen.trainer, dropout=DROPOUT, **GROUPED),
    "... and without dropout": partial(frozen.trainer, **GROUPED),
    "... and in bf16": partial(frozen.trainer, bf16=True, **GROUPED),
}
OURS = ("Tutelage", "Tutelage, bf16")


def run(corpus: Corpus, settings: TeacherRecipe, seed: int) -> dict[str, tuple[float, float]]:
    """(seconds, score on test) of every way, from the same start, in turns that begin elsewhere with each seed."""
    names, found = list(WAYS), {}
    for name in names[seed % len(names) :] + names[: seed % len(names)]:
        network, _ = load.load(settings.model, corpus.task, Reading(frozen.TOKENS), seed=seed)
        found[name] = (WAYS[name](network, corpus, settings, seed), frozen.score(network, corpus["test"]))
    return found


def line(name: str, found: list[dict[str, tuple[float, float]]], tokens: int) -> str:
    """A row of the table, over the seeds."""
    seconds = [each[name][0] for each in found]
    ratios = [ledger.spread([each[name][0] / each[mine][0] for each in found]) for mine in OURS]
    apart = [100 * (each[OURS[0]][1] - each[name][1]) for each in found]
    cells = (
        ["", "", ""] if name in OURS else [*ratios, f"{np.mean(apart):+.2f} ({min(apart):+.2f} to {max(apart):+.2f})"]
    )
    score = 100 * float(np.mean([each[name][1] for each in found]))
    return (
        " | ".join([f"| {name}", ledger.spread([tokens / each for each in seconds], 4), f"{score:.2f}", *cells]) + " |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        corpus = frozen.sentences(given.rows, Path(name))
        settings = TeacherRecipe(
            model=given.model, epochs=given.epochs, patience=None, fine_tune=True, precision="fp32"
        )
        reader, _ = load.load(given.model, corpus.task, Reading(frozen.TOKENS))
        tokens = given.epochs * len(reader.tokenize(corpus["train"].texts()).flat)
        for seed in given.seeds:
            found.append(run(corpus, settings, seed))
            print(seed, {name: [round(number, 4) for number in each] for name, each in found[-1].items()}, flush=True)
    ledger.record(
        "Fine-tuning everything",
        f"python benchmarks/full.py --rows {given.rows} --epochs {given.epochs} "
        f"--seeds {' '.join(map(str, given.seeds))}",
        [
            f"{given.rows:,} movie sentences, {given.model}, {given.epochs} epoch(s) of batches of 32, fused AdamW, "
            f"same rate, schedule and clipping; validated on {len(corpus['validation']):,} rows",
            f"after every epoch, test on {len(corpus['test']):,}. Real tokens of training a second, with validation;",
            "ours writes checkpoints, the Trainer none. Median and range over the seeds; in one process, in turns.",
            "Bars: 2.2 x the Trainer's defaults with dynamic padding, 1.5 x its best fair settings, at equal score.",
            "",
            "| | tokens/s | test % | ours faster | ours in bf16 faster | ours better, points |",
            "|---|---|---|---|---|---|",
            *(line(name, found, tokens) for name in WAYS),
        ],
    )


if __name__ == "__main__":
    main()
