"""What more texts are worth to a student that learns from its teacher: changed copies, other domains, a chosen share.

python benchmarks/augment.py [--rows 1500] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ledger
from classics import score, taught
from tutelage import demo, storage
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.data.prepare import prepare
from tutelage.folder import RunFolder
from tutelage.made import Bench
from tutelage.progress import Logged
from tutelage.recipe import StudentRecipe
from tutelage.student import build
from tutelage.workshop import Workshop

SHAPE = {"size": None, "layers": 1, "balance": "given", "patience": None, "control": False}
EPOCHS = 4
# Name -> what the recipe of the student says, and which texts are unlabelled.
ARMS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing more": ({}, ""),
    "nothing more, twice the epochs": ({"epochs": 2 * EPOCHS}, ""),
    "swap": ({"augment": {"ways": ["swap"]}}, ""),
    "delete": ({"augment": {"ways": ["delete"]}}, ""),
    "synonym": ({"augment": {"ways": ["synonym"]}}, ""),
    "synonym, rate 0.3": ({"augment": {"ways": ["synonym"], "rate": 0.3}}, ""),
    "synonym, all kept": ({"augment": {"ways": ["synonym"], "keep": "all"}}, ""),
    "recombine": ({"augment": {"ways": ["recombine"]}}, ""),
    "synonym and recombine, two of each": ({"augment": {"ways": ["synonym", "recombine"], "copies": 2}}, ""),
    "nothing more, five times the epochs": ({"epochs": 5 * EPOCHS}, ""),
    "a quarter of other domains, by lot": ({"select": {"share": 0.25, "by": "random"}}, "other"),
    "a quarter of other domains, by uncertainty": ({"select": {"share": 0.25}}, "other"),
    "as many movie sentences, real ones": ({}, "movie"),
}


def one(rows: int, seed: int, arms: list[str], terminal: Terminal) -> dict[str, dict[str, float]]:
    """Of each arm: accuracy on test without and with a wide part, how many texts, and seconds of learning."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = demo.recipe(folder / "run", terminal).model_copy(update={"seed": seed})
        progress = Logged(terminal, folder / "log.jsonl")
        whole = prepare(base, folder / "corpus", progress)
        random = np.random.default_rng(seed)
        order = random.permutation(len(whole["train"]))
        train = whole["train"].take(order[:rows])
        archive = vader.fetch(terminal)
        texts = [row.text for domain in ("amazon", "tweets", "nyt") for row in vader.rows(domain, archive)]
        other = sorted(random.choice(sorted(set(texts)), 4 * rows, replace=False).tolist())
        more = {
            "other": Split.unlabelled("unlabelled", other, ["other domains"] * len(other), range(len(other))),
            "movie": Split("unlabelled", whole["train"].take(order[rows : 2 * rows]).table),
        }
        splits = {"train": train, "validation": whole["validation"], "test": whole["test"]}
        corpus = Corpus(whole.folder, whole.task, splits, train.fingerprint, {})
        teacher = taught(base, corpus, seed, folder, progress)
        found = {"teacher": {"deep": score(teacher, corpus["test"])}}
        run = RunFolder.claim(base, resume=False)
        for arm in arms:
            started = time.monotonic()
            given, unlabelled = ARMS[arm]
            settings = StudentRecipe(**{**SHAPE, "epochs": EPOCHS, **given})
            data = base.data.model_copy(update={"unlabelled": ["memory"] if unlabelled else None})
            own = {**splits, **({"unlabelled": more[unlabelled]} if unlabelled else {})}
            changed = base.model_copy(update={"student": settings, "data": data})
            mine = Corpus(whole.folder, whole.task, own, storage.fingerprint_of(arm), {})
            shop = Workshop(changed, run, mine, teacher, arm, progress, torch.get_num_threads())
            shape = build.choose(settings, teacher.model.config)
            learned = shop.learn(settings, shape, Bench(run.student, run.export)).network
            found[arm] = {
                "deep": score(replace(learned, wide=None), corpus["test"]),
                "wide": score(learned, corpus["test"]),
                "texts": float(sum(map(len, shop.splits))),
                "seconds": time.monotonic() - started,
            }
            terminal.say(f"seed {seed}, {arm}: {found[arm]}")
        return found


def table(found: list[dict[str, dict[str, float]]], arms: list[str]) -> list[str]:
    """A row an arm: means over the seeds, and how far each seed is from nothing more."""
    lines = ["| more texts | texts | layers alone % | difference | with wide part % | difference |"]
    lines.append("|---|---|---|---|---|---|")
    first = arms[0]
    for arm in arms:
        cells = [arm, f"{np.mean([each[arm]['texts'] for each in found]):,.0f}"]
        for key in ("deep", "wide"):
            values = np.array([100 * each[arm][key] for each in found])
            gains = values - np.array([100 * each[first][key] for each in found])
            each = ", ".join(f"{gain:+.1f}" for gain in gains)
            cells += [f"{values.mean():.2f}", "" if arm == first else f"{gains.mean():+.2f} ({each})"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=[*ARMS], default=[*ARMS])
    parser.add_argument("--keep", type=Path, help="a JSON file for each seed's scores, so that a next call goes on")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    terminal, found = Terminal(), []
    kept = json.loads(given.keep.read_text()) if given.keep and given.keep.exists() else {}
    for seed in given.seeds:
        key = json.dumps([given.rows, seed, given.arms])
        if key not in kept:
            kept[key] = one(given.rows, seed, given.arms, terminal)
            if given.keep:
                storage.write_json(given.keep, kept)
        found.append(kept[key])
    teachers = ", ".join(f"{100 * each['teacher']['deep']:.2f}" for each in found)
    ledger.record(
        "More texts",
        f"python benchmarks/augment.py --rows {given.rows} --seeds {' '.join(map(str, given.seeds))}",
        [
            f"Accuracy in percent on 2,568 movie sentences; {given.rows:,} labelled ones to learn from. Teacher",
            f"MiniLM, two epochs: {teachers}. Student: one layer of the teacher's width, {EPOCHS} epochs unless said",
            "otherwise, following the teacher alone; the epoch is chosen on validation. *Texts*: all that the student",
            "reads in an epoch; more texts are also more steps, and the rows with more epochs say what those are worth",
            "by themselves. *Difference*: from nothing more; in brackets each seed. One standard error of an accuracy",
            "on these rows is 0.8 points, which does not count what another seed would change.",
            "",
            *table(found, given.arms),
        ],
    )


if __name__ == "__main__":
    main()
