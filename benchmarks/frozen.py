"""Frozen work done once: strategies that freeze layers against the Trainer of `transformers` with the same frozen.

python benchmarks/frozen.py
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ledger
from tutelage import demo, recipe, storage
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.network import Network
from tutelage.data.prepare import prepare
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.teacher import fine_tune, load, strategies
from tutelage.training.loop import set_dropout

TOKENS = 128


@dataclass(frozen=True)
class Case:
    """One strategy, for how many epochs, and the ratio to reach."""

    strategy: str
    layers: int | None
    epochs: int
    bar: float

    @property
    def title(self) -> str:
        return f"{self.strategy}{f' {self.layers}' if self.layers else ''}, {self.epochs} epochs"

    def settings(self, model: str) -> TeacherRecipe:
        return TeacherRecipe(
            precision="fp32",
            model=model,
            strategy=self.strategy,
            layers=self.layers,
            epochs=self.epochs,
            patience=None,
            fine_tune=True,
        )

    def allowed(self, layers: int, judged: float) -> float:
        """The ratio if nothing but layers took time: a layer forward is 1, backward 2; `judged` is validation rows
        for each training row."""
        trained = self.layers or 0
        anew = self.epochs * ((1 + judged) * layers + 2 * trained)
        once = (1 + judged) * (layers - trained) + self.epochs * (3 + judged) * trained
        return anew / once


CASES = (Case("last-n", 1, 5, 1.8), Case("last-n", 3, 5, 1.2), Case("head", None, 5, 4.0), Case("head", None, 20, 12.0))


def ours(network: Network, corpus: Corpus, settings: TeacherRecipe, seed: int) -> float:
    """Seconds from texts to a trained teacher, validated after every epoch, with checkpoints and calibration."""
    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        fine_tune.fine_tune(network, corpus, settings, fitted=False, seed=seed, folder=Path(name), progress=Silent())
        return time.perf_counter() - start


def trainer(
    network: Network, corpus: Corpus, settings: TeacherRecipe, seed: int, *, dropout: float = 0.0, **more: Any
) -> float:
    """Seconds of the Trainer from texts: the same layers frozen, batch, rate, schedule and epochs, dynamic padding,
    validated after every epoch. It writes no checkpoints. `more` are arguments of its own."""
    from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainingArguments

    set_dropout(network.model, dropout)
    steps = settings.epochs * -(-len(corpus["train"]) // settings.batch_size)
    with (
        tempfile.TemporaryDirectory() as name,
        strategies.applied(network, settings, targets=corpus["train"].targets, seed=seed),
    ):
        start = time.perf_counter()
        arguments = TrainingArguments(
            output_dir=name,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            per_device_eval_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup_steps=round(settings.warmup * steps),
            max_grad_norm=settings.clip,
            optim="adamw_torch_fused",
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            seed=seed,
            **more,
        )
        loop = Trainer(
            network.model,
            arguments,
            data_collator=DataCollatorWithPadding(network.tokenizer),
            train_dataset=rows(network, corpus["train"]),
            eval_dataset=rows(network, corpus["validation"]),
        )
        loop.remove_callback(PrinterCallback)
        loop.train()
        return time.perf_counter() - start


def rows(network: Network, split: Split) -> Any:
    """A split as the Trainer takes it: tokens that are not padded yet."""
    tokens = network.tokenize(split.texts())
    targets = split.targets.astype(int).tolist()
    return [{"input_ids": tokens.sequences(row)[0].tolist(), "labels": targets[row]} for row in range(len(tokens))]


def score(network: Network, split: Split) -> float:
    """The task's headline score."""
    network.model.eval()
    predictions = network.task.predict(network.outputs(network.tokenize(split.texts())))
    return network.task.headline.compute(predictions, split.targets)


def run(case: Case, corpus: Corpus, model: str, seed: int) -> dict[str, Any]:
    """Both ways from the same start: seconds, scores on test, and the ratio that would be reached if only layers took
    time. JSON."""
    settings, found = case.settings(model), {}
    for way in (ours, trainer):
        network, _ = load.load(model, corpus.task, Reading(TOKENS), seed=seed)
        found[way.__name__] = (way(network, corpus, settings, seed), score(network, corpus["test"]))
        layers = network.model.config.num_hidden_layers
    judged = len(corpus["validation"]) / len(corpus["train"])
    return {**found, "allowed": case.allowed(layers, judged)}


def line(case: Case, found: list[dict[str, Any]]) -> str:
    """A row of the table, over the seeds."""
    ratios = [each["trainer"][0] / each["ours"][0] for each in found]
    allowed = found[0]["allowed"]
    (mine, accuracy), (theirs, other) = (np.mean([each[way] for each in found], axis=0) for way in ("ours", "trainer"))
    apart = [each["ours"][1] - each["trainer"][1] for each in found]
    return (
        f"| {case.title} | {mine:.1f} | {theirs:.1f} | {ledger.spread(ratios)} | {case.bar:g} | {allowed:.2f} "
        f"| {np.median(ratios) / allowed:.0%} | {100 * accuracy:.2f} | {100 * other:.2f} "
        f"| {100 * min(apart):+.2f} to {100 * max(apart):+.2f} |"
    )


def sentences(count: int, folder: Path) -> Corpus:
    """The demo's movie sentences: some to learn from, at most a fifth as many to validate, all of test."""
    base = demo.recipe(folder / "run", Silent())
    whole = prepare(recipe.load(base.model_dump()), folder / "corpus", Silent())
    train = Split("train", whole["train"].table.slice(0, count))
    judged = Split("validation", whole["validation"].table.slice(0, count // 5))
    splits = {**whole.splits, "train": train, "validation": judged}
    return Corpus(whole.folder, whole.task, splits, train.fingerprint, {})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keep", type=Path, help="folder for each figure; those that are there are not measured again")
    given = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        corpus = sentences(given.rows, Path(name))
        for case, seed in ((case, seed) for case in CASES for seed in given.seeds):
            kept = given.keep / f"{case.title}, {seed}.json" if given.keep else None
            if kept and kept.is_file():
                each = json.loads(kept.read_text(encoding="utf-8"))
            else:
                each = run(case, corpus, given.model, seed)
                if kept:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    storage.write_json(kept, each)
            found.setdefault(case.title, []).append(each)
    ledger.record(
        "Frozen work done once",
        f"python benchmarks/frozen.py --rows {given.rows} --seeds {' '.join(map(str, given.seeds))}",
        [
            f"{given.rows:,} movie sentences, {given.model}, batches of 32, validation after every epoch "
            f"({len(corpus['validation']):,} rows), test on {len(corpus['test']):,}. The Trainer freezes the same",
            "layers, pads dynamically, has no dropout and a fused AdamW, and writes no checkpoints; ours does. Seconds",
            "are means over the seeds, ratios median and range; *allowed* is the ratio if only layers took time.",
            "",
            "| strategy | ours, s | Trainer, s | ratio | bar | allowed | reached | test %, ours | test %, Trainer "
            "| difference, points |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *(line(case, found[case.title]) for case in CASES),
        ],
    )


if __name__ == "__main__":
    main()
