"""Pre-training: an encoder that read the user's own text for some minutes, fine-tuned, against the same from chance.

python benchmarks/pretrain.py --minutes 30
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import ledger
from tutelage import pretraining, recipe
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.data.prepare import prepare
from tutelage.encoding import Reading
from tutelage.evaluate.intervals import Bootstrap
from tutelage.progress import Silent
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.teacher import fine_tune, load

TOKENS = 128
RATES = (1e-4, 3e-4, 1e-3)
"""Learning rates of the fine-tuning, tried by both sides alike; validation chooses, for each seed."""


@dataclass(frozen=True)
class Tuned:
    """One fine-tuned model."""

    rate: float
    validation: float
    seconds: float
    predictions: NDArray[np.float64]
    """Of the test rows."""


def pretrained(files: dict[str, Path], folder: Path, given: argparse.Namespace) -> pretraining.Pretrained:
    """An encoder from the movie sentences of train and all those of other domains; no test row is among them."""
    return pretraining.pretrain(
        {
            "data": {"text": [str(files["train"]), str(files["unlabelled"])]},
            "objective": "masked",
            "model": {"layers": given.layers, "width": given.width, "heads": given.width // 64},
            "tokenizer": {"kind": "wordpiece", "vocabulary": given.vocabulary, "lowercase": True},
            "training": {"minutes": given.minutes, "length": TOKENS, "dropout": 0.1, "learning_rate": 1e-3},
            "output": str(folder / "pretrained"),
            "threads": torch.get_num_threads(),
        },
        progress=Terminal(),
    )


def untrained(model: Path, folder: Path, seed: int) -> Path:
    """The same architecture and the same tokenizer, with weights of chance."""
    import transformers

    torch.manual_seed(seed)
    config = transformers.AutoConfig.from_pretrained(model)
    transformers.AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


def tuned(model: Path, corpus: Corpus, rate: float, epochs: int, seed: int) -> Tuned:
    """Fine-tune all weights; the epoch that is best on validation is kept."""
    network, _ = load.load(str(model), corpus.task, Reading(TOKENS), seed=seed)
    settings = TeacherRecipe(model=str(model), epochs=epochs, learning_rate=rate, dropout=0.1, patience=2)
    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        history = fine_tune.fine_tune(
            network, corpus, settings, fitted=False, seed=seed, folder=Path(name), progress=Silent()
        )
        seconds = time.perf_counter() - start
    score = max(record["score"] for record in history if "score" in record)
    return Tuned(rate, score, seconds, network.predictions(list(corpus["test"].texts())))


def best(model: Path, corpus: Corpus, given: argparse.Namespace, seed: int) -> Tuned:
    """Of all learning rates, by validation."""
    tried = [tuned(model, corpus, rate, given.epochs, seed) for rate in given.rates]
    return max(tried, key=lambda found: found.validation)


def compared(pairs: list[tuple[Tuned, Tuned]], corpus: Corpus, seeds: list[int]) -> tuple[list[str], str]:
    """A row a seed, and the mean difference with its paired interval over the test rows, in points."""
    bootstrap = Bootstrap(len(corpus["test"]), resamples=2000, confidence=0.95, seed=0)
    metric, targets = (corpus.task.headline,), corpus["test"].targets
    scores = [[bootstrap.scores(metric, side.predictions, targets)[metric[0].name] for side in pair] for pair in pairs]
    lines, differences = [], []
    for seed, pair, (one, other) in zip(seeds, pairs, scores, strict=True):
        apart = bootstrap.difference(one, other)
        differences.append(100 * apart.value)
        sides = " | ".join(
            f"{100 * score.value:.1f} | {side.rate:g} | {side.seconds:.0f}"
            for score, side in zip((one, other), pair, strict=True)
        )
        lines.append(f"| {seed} | {sides} | {100 * apart.value:.1f} [{100 * apart.low:.1f}, {100 * apart.high:.1f}] |")
    samples = np.mean([one.samples - other.samples for one, other in scores], axis=0)
    mean = bootstrap.interval(float(np.mean(differences)) / 100, samples)
    spread = f"seeds {ledger.spread(differences)}"
    return lines, f"{100 * mean.value:.1f} points [{100 * mean.low:.1f}, {100 * mean.high:.1f}]; {spread}"


def corpus_of(files: dict[str, Path], folder: Path, rows: int) -> Corpus:
    """The movie sentences with their labels."""
    made: dict[str, Any] = {
        "task": "text-classification",
        "data": {"train": str(files["train"]), "test": str(files["test"]), "max_tokens": TOKENS},
        "output": str(folder / "run"),
    }
    whole = prepare(recipe.load(made), folder / "corpus", Silent())
    train = Split("train", whole["train"].table.slice(0, rows))
    return Corpus(whole.folder, whole.task, {**whole.splits, "train": train}, train.fingerprint, {})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=6, help="of the fine-tuning, at most")
    parser.add_argument("--rows", type=int, default=8000, help="labelled rows, at most")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES), help="learning rates of fine-tuning")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keep", type=Path, help="folder that keeps the pre-trained model; it goes on there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = given.keep or folder
        files = vader.write_demo(base / "data", Silent())
        corpus = corpus_of(files, folder, given.rows)
        made = pretrained(files, base, given)
        pairs = []
        for seed in given.seeds:
            chance = untrained(made.model, folder / f"chance-{seed}", seed)
            pairs.append((best(made.model, corpus, given, seed), best(chance, corpus, given, seed)))
        lines, verdict = compared(pairs, corpus, given.seeds)
    before, after = made.results["before"], made.results["best"]
    read = made.results["steps"] * made.results["tokens_each_step"]
    ledger.record(
        "Pre-training on one's own text",
        f"python benchmarks/pretrain.py --minutes {given.minutes:g} --layers {given.layers} --width {given.width} "
        f"--rows {given.rows} --epochs {given.epochs} --rates {' '.join(f'{rate:g}' for rate in given.rates)} "
        f"--seeds {' '.join(map(str, given.seeds))}",
        [
            f"BERT of {given.layers} x {given.width}, {made.results['vocabulary']:,} tokens, pre-trained on the movie "
            f"sentences of train and those of the other domains for {given.minutes:g} minutes",
            f"({made.results['steps']:,} steps, {read / 1e6:.1f} million tokens): held-out perplexity "
            f"{before['perplexity']:,.0f} -> {after['perplexity']:,.1f} per {made.results['unit']}. Fine-tuned on",
            f"{len(corpus['train']):,} movie rows, at most {given.epochs} epochs, learning rate of "
            f"{', '.join(f'{rate:g}' for rate in given.rates)} chosen by validation; test on {len(corpus['test']):,}.",
            "*Chance* is the same architecture and tokenizer from weights of chance. 95 %, bootstrap over test rows.",
            "",
            "| seed | pre-trained % | rate | s | chance % | rate | s | difference, points |",
            "|---|---|---|---|---|---|---|---|",
            *lines,
            "",
            f"Difference: {verdict}.",
        ],
    )


if __name__ == "__main__":
    main()
