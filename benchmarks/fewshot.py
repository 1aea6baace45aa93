"""What pairs of texts are worth where labels are few: `few-shot` against `full`, `head` and words alone.

Every way learns from the same few texts and is judged on the same test rows. `--keep FILE` remembers what was trained,
so that it can be done piecewise.

python benchmarks/fewshot.py [--domains movie tweets] [--sizes 8 16 64] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ledger
from balance import written
from kept import Kept
from tutelage import recipe as recipes
from tutelage.artifacts.corpus import Corpus
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.data.prepare import prepare
from tutelage.encoding import reading
from tutelage.evaluate.baseline import Baseline
from tutelage.progress import Silent
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.teacher import fine_tune, load
from tutelage.teacher.strategies import mean_layer
from tutelage.training import supervised

WAYS = ("full", "head", "few-shot")
# What makes the difference: pairs for the head's own vector, and labels alone with the mean of all tokens.
PARTS = ("few-shot, own vector", "full, mean layer")
PARTS_OF = 16
TEST, VALIDATION = 600, 8
# Of what learns from labels; the best epoch by validation is kept.
EPOCHS = {8: 20, 16: 20, 64: 10}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="+", choices=list(vader.DOMAINS), default=["movie", "tweets"])
    parser.add_argument("--sizes", type=int, nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keep", type=Path, help="a JSON-lines file of scores, so that a next call goes on")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    found, terminal = Kept(given.keep), Terminal()
    for seed in given.seeds:
        for domain in given.domains:
            for size in given.sizes:
                key = f"{domain} {size} {seed}"
                if key not in found:
                    found.add(key, one(domain, size, seed, terminal))
                    terminal.say(f"{key}: {json.dumps(found[key])}")
    lists = [f"--domains {' '.join(given.domains)}", f"--sizes {' '.join(map(str, given.sizes))}"]
    lists.append(f"--seeds {' '.join(map(str, given.seeds))}")
    ledger.record("Few labels", f"python benchmarks/fewshot.py {' '.join(lists)}", table(found, given))


def one(domain: str, size: int, seed: int, terminal: Terminal) -> dict[str, Any]:
    """Score and seconds of every way, for some labels a class."""
    with tempfile.TemporaryDirectory() as name:
        corpus = drawn(domain, (size, VALIDATION), seed, Path(name), terminal)
        test = corpus["test"]
        words = Baseline.fit(corpus, seed=seed).predictions(test.texts())
        record: dict[str, Any] = {"TF-IDF": [float((words.argmax(1) == test.targets).mean()), 0.0]}
        for way in (*WAYS, *(PARTS if size == PARTS_OF else ())):
            strategy = way.partition(",")[0]
            asked: dict[str, Any] = {"strategy": strategy, "patience": None}
            if strategy != "few-shot":
                asked |= {"epochs": EPOCHS[size], "batch_size": 8 if size == min(EPOCHS) else 16}
            record[way] = list(taught(corpus, TeacherRecipe(**asked), seed, Path(name) / way, way))
        return record


def taught(corpus: Corpus, settings: TeacherRecipe, seed: int, folder: Path, way: str) -> tuple[float, float]:
    """Test score and seconds of a teacher made in one way."""
    network, _ = load.load("minilm", corpus.task, reading(128, "truncate"), seed=seed)
    if way == "full, mean layer":
        mean_layer.add(network.model)
        network.model.requires_grad_(True)
    began = time.monotonic()
    # What is fitted keeps its own head; `fine_tune` begins again from it.
    own = way == "few-shot, own vector"
    settings = settings.model_copy(update={"fine_tune": True})
    fine_tune.fine_tune(network, corpus, settings, fitted=own, seed=seed, folder=folder, progress=Silent())
    seconds = time.monotonic() - began
    return supervised.score(network, corpus["test"]), seconds


def drawn(domain: str, sizes: tuple[int, int], seed: int, folder: Path, terminal: Terminal) -> Corpus:
    """So many texts of each class to learn from and to validate, and the same test rows for every seed."""
    size, validation = sizes
    rated = [row for row in vader.rows(domain, vader.fetch(terminal)) if row.rating != 0]
    order = np.random.default_rng(0).permutation(len(rated))
    test, rest = [rated[i] for i in order[:TEST]], [rated[i] for i in order[TEST:]]
    again = [rest[i] for i in np.random.default_rng([seed, 1]).permutation(len(rest))]
    sides = [[row for row in again if (row.rating > 0) == side] for side in (False, True)]
    recipe = recipes.load(
        {
            "task": "text-classification",
            "data": {
                "train": written([row for side in sides for row in side[:size]], folder / "train.jsonl"),
                "validation": written(
                    [row for side in sides for row in side[size : size + validation]], folder / "validation.jsonl"
                ),
                "test": written(test, folder / "test.jsonl"),
                "max_tokens": 128,
            },
            "output": str(folder / "run"),
        }
    )
    return prepare(recipe, folder / "corpus", Silent())


def table(found: dict[str, dict[str, Any]], given: argparse.Namespace) -> list[str]:
    """Mean and 95 % interval over seeds of each way, and of its difference to `full`."""
    lines = [
        f"Accuracy in % on {TEST} test rows of MiniLM made a teacher from so many labels a class; mean over",
        f"{len(given.seeds)} draws of the labels ± half a 95 % interval (Student's t over draws). {VALIDATION} further",
        "labels a class choose the best epoch of full and head (10 or 20 epochs) and calibrate everyone; few-shot",
        "takes its default, two epochs of 800 pairs. Seconds of one thread, on a machine that did other work too.",
        "",
        "| data | labels a class | TF-IDF | head | full | few-shot | few-shot - full | few-shot - head "
        "| s full | s few-shot |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for domain in given.domains:
        for size in given.sizes:
            cells = [found[f"{domain} {size} {seed}"] for seed in given.seeds]
            scores = {way: np.array([100 * cell[way][0] for cell in cells]) for way in ("TF-IDF", *WAYS)}
            times = {way: float(np.mean([cell[way][1] for cell in cells])) for way in WAYS}
            told = [interval(scores[way]) for way in ("TF-IDF", "head", "full", "few-shot")]
            told += [interval(scores["few-shot"] - scores[way], sign="+") for way in ("full", "head")]
            told += [f"{times[way]:.0f}" for way in ("full", "few-shot")]
            lines.append(f"| {domain} | {size} | {' | '.join(told)} |")
    if PARTS_OF in given.sizes:
        lines += ["", f"With {PARTS_OF} labels a class, what makes the difference:", ""]
        lines += [f"| data | {' | '.join(['full', *PARTS, 'few-shot'])} |", "|---|---|---|---|---|"]
        for domain in given.domains:
            cells = [found[f"{domain} {PARTS_OF} {seed}"] for seed in given.seeds]
            told = [interval(np.array([100 * cell[way][0] for cell in cells])) for way in ("full", *PARTS, "few-shot")]
            lines.append(f"| {domain} | {' | '.join(told)} |")
    return lines


def interval(values: np.ndarray, sign: str = "") -> str:
    """Mean ± half the 95 % interval of the mean."""
    from scipy.stats import t

    count = len(values)
    half = t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count) if count > 1 else float("nan")
    return f"{values.mean():{sign}.1f} ± {half:.1f}"


if __name__ == "__main__":
    main()
