"""Pre-training: a model that read the user's own text for some minutes, fine-tuned, against the same from chance.

python benchmarks/pretrain.py [--minutes 10] [--objective causal] [--labels domain] [--rows 100 400 1600]

Labels are the domain that a sentence comes from, or whether a movie sentence is positive.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
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
from tutelage.evaluate.intervals import Bootstrap, Resampled
from tutelage.progress import Silent
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.teacher import fine_tune, load

TOKENS = 64
EACH, TEST, VALIDATION = 3700, 3000, 200
"""Sentences of each domain, and of all of them those that test; labelled rows that choose rate and epoch."""
RATES = (3e-4, 1e-3)
"""Learning rates of the fine-tuning, tried by both sides alike; validation chooses, for each seed."""
WHAT = {
    "domain": "sentences of films, tweets, product reviews and editorials, which of these they are is to be told",
    "sentiment": "the movie sentences of train and those of the other domains; whether a film is praised is to be told",
}


@dataclass(frozen=True)
class Tuned:
    """One fine-tuned model."""

    rate: float
    validation: float
    seconds: float
    predictions: NDArray[np.float64]
    """Of the test rows."""


@dataclass(frozen=True)
class Material:
    """Where the labelled rows are, and the texts that are read before; no test row is among them."""

    train: Path
    test: Path
    texts: list[Path]


def sentences(labels: str, folder: Path) -> Material:
    """Rows with the labels that were asked for; the same rows every time."""
    if labels == "sentiment":
        files = vader.write_demo(folder, Silent())
        return Material(files["train"], files["test"], [files["train"], files["unlabelled"]])
    archive, rows = vader.fetch(Silent()), []
    for domain in vader.DOMAINS:
        texts = sorted({row.text for row in vader.rows(domain, archive)}, key=_drawn)
        rows += [(text, domain) for text in texts[:EACH]]
    rows.sort(key=lambda row: _drawn(f"order {row[0]}"))
    folder.mkdir(parents=True, exist_ok=True)
    train, test = folder / "train.csv", folder / "test.csv"
    for file, part in ((test, rows[:TEST]), (train, rows[TEST:])):
        with file.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([("text", "label"), *part])
    return Material(train, test, [train])


def _drawn(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def pretrained(texts: list[Path], folder: Path, given: argparse.Namespace) -> pretraining.Pretrained:
    """A model of the texts alone, tokenizer included."""
    return pretraining.pretrain(
        {
            "data": {"text": [{"source": str(file), "column": "text"} for file in texts]},
            "objective": given.objective,
            "model": {"layers": given.layers, "width": given.width, "heads": given.width // 64},
            "tokenizer": {"kind": "wordpiece", "vocabulary": given.vocabulary, "lowercase": True},
            "training": {
                "minutes": given.minutes,
                "length": TOKENS,
                "batch_tokens": given.batch_tokens,
                "learning_rate": given.rate,
            },
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
    getattr(transformers, config.architectures[0])(config).save_pretrained(folder)
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


def compared(pairs: list[tuple[Tuned, Tuned]], corpus: Corpus, seeds: list[int], rows: int) -> tuple[list[str], str]:
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
        lines.append(
            f"| {rows:,} | {seed} | {sides} | {100 * apart.value:.1f} [{100 * apart.low:.1f}, {100 * apart.high:.1f}] |"
        )
    samples = np.mean([one.samples - other.samples for one, other in scores], axis=0)
    mean = bootstrap.interval(Resampled(float(np.mean(differences)) / 100, samples))
    spread = f"seeds {ledger.spread(differences)}"
    return lines, f"{100 * mean.value:.1f} points [{100 * mean.low:.1f}, {100 * mean.high:.1f}]; {spread}"


def corpus_of(material: Material, folder: Path) -> Corpus:
    """All rows with their labels."""
    made: dict[str, Any] = {
        "task": "text-classification",
        "data": {"train": str(material.train), "test": str(material.test), "max_tokens": TOKENS},
        "output": str(folder / "run"),
    }
    return prepare(recipe.load(made), folder / "corpus", Silent())


def few(whole: Corpus, rows: int) -> Corpus:
    """The first rows of train, and some for validation."""
    train = Split("train", whole["train"].table.slice(0, rows))
    validation = Split("validation", whole["validation"].table.slice(0, VALIDATION))
    splits = {**whole.splits, "train": train, "validation": validation}
    return Corpus(whole.folder, whole.task, splits, train.fingerprint, {})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--objective", choices=("causal", "masked"), default="causal")
    parser.add_argument("--labels", choices=("domain", "sentiment"), default="domain")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--vocabulary", type=int, default=4000)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--rate", type=float, default=2e-3, help="of the pre-training")
    parser.add_argument("--epochs", type=int, default=12, help="of the fine-tuning, at most")
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 400, 1600], help="labelled rows")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES), help="learning rates of fine-tuning")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keep", type=Path, help="folder that keeps the pre-trained model; it goes on there")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    lines, verdicts = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = given.keep or folder
        material = sentences(given.labels, base / "data")
        whole = corpus_of(material, folder)
        made = pretrained(material.texts, base, given)
        chances = [untrained(made.model, folder / f"chance-{seed}", seed) for seed in given.seeds]
        for rows in given.rows:
            corpus = few(whole, rows)
            pairs = [
                (best(made.model, corpus, given, seed), best(chance, corpus, given, seed))
                for seed, chance in zip(given.seeds, chances, strict=True)
            ]
            more, verdict = compared(pairs, corpus, given.seeds, rows)
            print(*more, verdict, sep="\n", flush=True)
            lines += more
            verdicts.append(f"- {rows:,} labelled rows: {verdict}")
    before, after = made.results["before"], made.results["best"]
    read = made.results["steps"] * made.results["tokens_each_step"]
    kind = "GPT-2" if given.objective == "causal" else "BERT"
    ledger.record(
        f"Pre-training on one's own text: {given.labels}, {given.objective}",
        f"python benchmarks/pretrain.py --minutes {given.minutes:g} --objective {given.objective} --labels "
        f"{given.labels} --layers {given.layers} --width {given.width} --vocabulary {given.vocabulary} --rate "
        f"{given.rate:g} --batch-tokens {given.batch_tokens} --rows {' '.join(map(str, given.rows))} "
        f"--epochs {given.epochs} --rates {' '.join(f'{rate:g}' for rate in given.rates)} "
        f"--seeds {' '.join(map(str, given.seeds))}",
        [
            f"{kind} of {given.layers} x {given.width}, {made.results['vocabulary']:,} tokens, pre-trained for "
            f"{given.minutes:g} minutes with {torch.get_num_threads()} thread(s) on",
            f"{WHAT[given.labels]}",
            f"({made.results['steps']:,} steps, {read / 1e6:.1f} million tokens): held-out perplexity "
            f"{before['perplexity']:,.0f} -> {after['perplexity']:,.1f} per {made.results['unit']}.",
            f"Fine-tuned on few labelled rows, at most {given.epochs} epochs, learning rate of "
            f"{', '.join(f'{rate:g}' for rate in given.rates)} and epoch",
            f"chosen by {VALIDATION} validation rows; test on {len(whole['test']):,}. *Chance* is the same "
            "architecture and tokenizer",
            "from weights of chance. Accuracy in %; 95 %, bootstrap over test rows.",
            "",
            "| labelled rows | seed | pre-trained % | rate | s | chance % | rate | s | difference, points |",
            "|---|---|---|---|---|---|---|---|---|",
            *lines,
            "",
            "Difference:",
            "",
            *verdicts,
        ],
    )


if __name__ == "__main__":
    main()
