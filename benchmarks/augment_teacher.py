"""What changed copies of a few labelled texts are worth to a teacher that learns from them.

Every arm learns from the same rows and is judged on the same test rows. More copies are also more steps: the arm with
more epochs says what those are worth by themselves. `--keep FILE` remembers what was trained.

python benchmarks/augment_teacher.py [--domains movie] [--sizes 64 500] [--seeds 0 1 2]
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
from tutelage.folder import RunFolder
from tutelage.progress import Logged, Silent
from tutelage.teachers import School
from tutelage.training import supervised

# Epochs by rows; the best by validation is kept.
EPOCHS = {64: 10, 500: 4}
ARMS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "nothing, twice the epochs": {"times": 2},
    "swap": {"ways": ["swap"]},
    "delete": {"ways": ["delete"]},
    "synonym": {"ways": ["synonym"]},
    "recombine": {"ways": ["recombine"]},
    "all four": {"ways": ["swap", "delete", "synonym", "recombine"]},
    "nothing, five times the epochs": {"times": 5},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="+", choices=list(vader.DOMAINS), default=["movie"])
    parser.add_argument("--sizes", type=int, nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--epochs", type=int, help="for a quick look: so many in every arm")
    parser.add_argument("--keep", type=Path, help="a JSON-lines file of scores, so that a next call goes on")
    parser.add_argument("--dry", action="store_true", help="print the table, record nothing")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    found, terminal = Kept(given.keep), Terminal()
    for seed in given.seeds:
        for domain in given.domains:
            for size in given.sizes:
                for arm in given.arms:
                    key = f"{domain} {size} {seed} {arm}"
                    if key not in found:
                        found.add(key, one((domain, size, seed), arm, given, terminal))
                        terminal.say(f"{key}: {json.dumps(found[key])}")
    lines = table(found, given)
    if given.dry:
        print("\n".join(lines))
        return
    lists = [f"--{name} {' '.join(map(str, getattr(given, name)))}" for name in ("domains", "sizes", "seeds")]
    ledger.record("Changed copies for the teacher", f"python benchmarks/augment_teacher.py {' '.join(lists)}", lines)


Cell = tuple[str, int, int]
"""Domain, rows, seed."""


def one(cell: Cell, arm: str, given: argparse.Namespace, terminal: Terminal) -> dict[str, Any]:
    """Test score of a teacher, how many rows it learned from, and seconds."""
    asked = ARMS[arm]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        teacher: dict[str, Any] = {"epochs": given.epochs or EPOCHS[cell[1]] * asked.get("times", 1), "batch_size": 16}
        if "ways" in asked:
            teacher["augment"] = {"ways": asked["ways"]}
        teacher["patience"] = None
        corpus, recipe = drawn(cell, given.test, teacher, folder, terminal)
        run = RunFolder.claim(recipe, resume=False)
        school = School(recipe, run, corpus, reading(128, "truncate"), Logged(Silent(), folder / "log"), lambda _: None)
        began = time.monotonic()
        _, network = school.teacher()
        seconds = time.monotonic() - began
        told = [choice for choice in run.choices() if choice["what"] == "changed copies for the teacher"]
        more = sum(sum(choice["figures"]["made"].values()) for choice in told)
        return {
            "score": supervised.score(network, corpus["test"]),
            "texts": len(corpus["train"]) + more,
            "seconds": seconds,
        }


def drawn(
    cell: Cell, test: int, teacher: dict[str, Any], folder: Path, terminal: Terminal
) -> tuple[Corpus, recipes.Recipe]:
    """So many rows to learn from, a quarter as many to validate on (20 at least), and the same test rows always."""
    domain, size, seed = cell
    rated = [row for row in vader.rows(domain, vader.fetch(terminal)) if row.rating != 0]
    order = np.random.default_rng(0).permutation(len(rated))
    held, rest = [rated[i] for i in order[:test]], [rated[i] for i in order[test:]]
    again = [rest[i] for i in np.random.default_rng([seed, 1]).permutation(len(rest))]
    validation = max(size // 4, 20)
    recipe = recipes.load(
        {
            "task": "text-classification",
            "data": {
                "train": written(again[:size], folder / "train.jsonl"),
                "validation": written(again[size : size + validation], folder / "validation.jsonl"),
                "test": written(held, folder / "test.jsonl"),
                "max_tokens": 128,
            },
            "teacher": teacher,
            "output": str(folder / "run"),
            "seed": seed,
        }
    )
    return prepare(recipe, folder / "corpus", Silent()), recipe


def table(found: dict[str, dict[str, Any]], given: argparse.Namespace) -> list[str]:
    """A row a domain, size and arm: the mean over the seeds, and how far each is from no copies."""
    error = 100 * np.sqrt(0.16 / given.test)
    lines = [
        f"Accuracy in percent on {given.test:,} test rows of a MiniLM fine-tuned on so many rows; a quarter as many",
        f"(20 at least) choose the epoch. One standard error is about {error:.1f} points, which does not count what",
        "another seed would change; in brackets each seed. *Texts*: rows and copies; more texts are also more steps.",
        "",
        "| domain, rows | copies | texts | accuracy % | difference | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for domain in given.domains:
        for size in given.sizes:
            first = np.array([100 * found[f"{domain} {size} {seed} {given.arms[0]}"]["score"] for seed in given.seeds])
            for arm in given.arms:
                mine = [found[f"{domain} {size} {seed} {arm}"] for seed in given.seeds]
                scores = np.array([100 * each["score"] for each in mine])
                each = ", ".join(f"{gain:+.1f}" for gain in scores - first)
                gain = "" if arm == given.arms[0] else f"{(scores - first).mean():+.2f} ({each})"
                texts, seconds = (np.mean([one[key] for one in mine]) for key in ("texts", "seconds"))
                lines.append(
                    f"| {domain}, {size} | {arm} | {texts:,.0f} | {scores.mean():.2f} | {gain} | {seconds:.0f} |"
                )
    return lines


if __name__ == "__main__":
    main()
