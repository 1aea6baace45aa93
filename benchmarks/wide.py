"""What the wide part and the cascade are worth: one student of the demo with and without, on the same test rows.

python benchmarks/wide.py [--seeds 0 1]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import ledger
from tutelage import demo, pipeline
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.compress import graph
from tutelage.compress.run import outputs
from tutelage.console import Terminal
from tutelage.progress import Silent
from tutelage.recipe import CompressRecipe

LOSSES = (0.002, 0.005, 0.01)
_ROUNDS = 5


def one(seed: int, terminal: Terminal) -> list[str]:
    """Rows of the table: share kept, bytes and seconds of the graph, for each way to deploy one student."""
    with tempfile.TemporaryDirectory() as name:
        recipe = demo.recipe(Path(name) / "demo", terminal)
        student = recipe.student.model_copy(update={"wide": True, "control": False})
        run = pipeline.run(recipe.model_copy(update={"seed": seed, "student": student}), progress=terminal)
        corpus = Corpus.load(run.path / ".tutelage" / "corpus")
        test = corpus["test"]
        teacher = run.measurements.models["teacher"].scores["accuracy"].value or 1.0
        network = run.student
        ways: dict[str, tuple[Network, CompressRecipe]] = {
            "layers alone": (replace(network, wide=None), CompressRecipe(cascade=False)),
            "with the wide part": (network, CompressRecipe(cascade=False)),
        }
        ways |= {f"and a cascade, {loss:g}": (network, CompressRecipe(cascade_loss=loss)) for loss in LOSSES}
        tokens = network.tokenize(test.texts())
        rows, first = [], 0.0
        for number, (title, (given, settings)) in enumerate(ways.items()):
            folder = Path(name) / f"graph{number}"
            made = graph.make(given, corpus["validation"], settings, folder=folder, threads=2, progress=Silent())
            file = folder / made.file
            times = []
            for _ in range(_ROUNDS):
                start = time.perf_counter()
                said = outputs(file, given, tokens, threads=2)
                times.append(time.perf_counter() - start)
            score = corpus.task.headline.compute(corpus.task.predict(said), test.targets)
            first = first or float(np.median(times))
            share = made.choices[-1]["figures"].get("share_answered_alone", 0) if "cascade" in made.file else 0
            rows.append(
                f"| {seed} | {title} | {100 * score:.1f} | {100 * score / teacher:.1f} | {share:.0%} "
                f"| {float(np.median(times)) / first:.2f} | {file.stat().st_size / 1e6:.2f} |"
            )
        return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    seeds = parser.parse_args().seeds
    terminal = Terminal()
    lines = [line for seed in seeds for line in one(seed, terminal)]
    ledger.record(
        "7. Wide part and cascade",
        f"python benchmarks/wide.py --seeds {' '.join(map(str, seeds))}",
        [
            "One student of the demo a seed, as it is deployed; accuracy on 2,568 test rows (one standard error: 0.8",
            "points). 'Alone': the share of validation rows that the wide part answers by itself; none where a cascade",
            "was not worth it. Time is that of the graph on the test rows, next to the layers alone.",
            "",
            "| seed | way | test % | kept % | alone | time | graph, MB |",
            "|---|---|---|---|---|---|---|",
            *lines,
        ],
    )


if __name__ == "__main__":
    main()
