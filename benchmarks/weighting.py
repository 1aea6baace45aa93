"""Does a student learn more where the weights of its loss follow from what it learns, or where it grows layer by layer?

One teacher a domain; every way trains the same student from the same start on the same texts, for as many epochs, seed
by seed: 24 trainings, about ten minutes on one thread. `--keep FILE` remembers what was trained, so that it can be done
piecewise.

python benchmarks/weighting.py [--domains movie] [--seeds 0 1 2] [--rows 1000] [--keep FILE]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import balance
import ledger
from kept import Kept
from tutelage.console import Terminal
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.student import distil
from tutelage.student.build import Shape

SHAPE = Shape(3, 384, 12, 384)
EPOCHS = 4
HALF = {"alpha": 0.5}
FIXED = "half and half, fixed"
# Annealing as in the paper: the teacher's logits first, the labels alone in the end.
COOLED = {"loss": "annealed-mse", "temperature": 5.0, "temperature_schedule": "inverse"}
LAST = [{"epochs": EPOCHS - 1}, {"epochs": 1, "alpha": 0.0, "hidden": 0.0}]
WAYS: dict[str, dict[str, Any]] = {
    FIXED: HALF,
    "the teacher alone": {},
    "uncertainty": {**HALF, "weighting": "uncertainty"},
    "weighted soft labels": {**HALF, "weighting": "wsl"},
    "annealing": {**COOLED, "stages": LAST},
    "stages alone": {"stages": LAST},
    "growth": {**HALF, "growth": {}},
    "growth, copies": {**HALF, "growth": {"new": "copy"}},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="+", default=["movie"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    found = Kept(given.keep)
    for domain in given.domains:
        wanted = {f"{domain} {given.rows} {seed} {way}": (seed, way) for seed in given.seeds for way in WAYS}
        left = {key: case for key, case in wanted.items() if key not in found}
        if left:
            train(domain, left, found, rows=given.rows)
    command = f"python benchmarks/weighting.py --domains {' '.join(given.domains)} --seeds "
    command += f"{' '.join(map(str, given.seeds))} --rows {given.rows}"
    lines = [
        line
        for domain in given.domains
        for line in table(domain, {way: cases(found, domain, way, given) for way in WAYS})
    ]
    ledger.record("Weights that follow from what is learned, and growth", command, [*INTRODUCTION, *lines])


def cases(found: dict[str, Any], domain: str, way: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    """What was measured of a way, seed by seed."""
    return [found[f"{domain} {given.rows} {seed} {way}"] for seed in given.seeds]


def train(domain: str, missing: dict[str, tuple[int, str]], found: Kept, *, rows: int) -> None:
    """The students that are still missing, of one teacher."""
    terminal = Terminal()
    with tempfile.TemporaryDirectory() as name:
        workshop = balance.prepared(domain, 0, rows, Path(name), terminal, seed=0)
        corpus, base = workshop.corpus, workshop.recipe.student.model_dump()
        teacher = float(np.mean(balance.right(workshop.teacher, corpus["test"])))
        for key, (seed, way) in missing.items():
            settings = StudentRecipe.model_validate({**base, "epochs": EPOCHS, "patience": None, **WAYS[way]})
            plan = workshop.plan(settings, SHAPE)
            told = workshop.signals(workshop.recording([plan]))
            student = workshop.beginning.student(SHAPE)
            transfer = distil.transfer_set(student, workshop.splits, told)
            began, folder = time.monotonic(), Path(name) / "training"
            state = distil.distil(
                student,
                transfer,
                told,
                corpus["validation"],
                settings,
                seed=seed,
                folder=folder,
                progress=Silent(),
                plan=plan,
            )
            seconds = time.monotonic() - began
            shutil.rmtree(folder)
            ok = "".join(map(str, balance.right(student, corpus["test"])))
            found.add(key, {"ok": ok, "seconds": seconds, "teacher": teacher, "last": state.history[-1]})
            terminal.say(f"{key}: {100 * np.mean([int(c) for c in ok]):.1f} %, {seconds:.0f} s")


INTRODUCTION = [
    f"{SHAPE.layers} layers of {SHAPE.width} without a wide part, {EPOCHS} epochs, the same teacher, texts and start",
    "in every way. The difference is to the first way, paired by test row and seed; ± is one standard error over the",
    "test rows, of the mean over seeds; behind it the range of the seeds. 'Stages alone' is annealing with the default",
    "loss at temperature 1: what of annealing is its end on labels.",
]


def table(domain: str, records: dict[str, list[dict[str, Any]]]) -> list[str]:
    """One line a way."""
    right = {
        way: np.array([[int(c) for c in record["ok"]] for record in some], dtype=float) for way, some in records.items()
    }
    lines = []
    for way, rows in right.items():
        scores = ", ".join(f"{100 * score:.1f}" for score in rows.mean(1))
        apart = 100 * (rows - right[FIXED])
        error = apart.mean(0).std(ddof=1) / np.sqrt(apart.shape[1])
        seeds = apart.mean(1)
        told = "" if way == FIXED else f"{apart.mean():+.2f} ± {error:.2f} ({seeds.min():+.1f} to {seeds.max():+.1f})"
        seconds = ledger.spread([record["seconds"] for record in records[way]], digits=2)
        lines.append(f"| {way} | {scores} | {told} | {seconds} |")
    teacher = 100 * records[FIXED][0]["teacher"]
    return [
        "",
        f"**{domain}**, teacher {teacher:.1f} %:",
        "",
        "| way | accuracy % by seed | difference, points | s |",
        "|---|---|---|---|",
        *lines,
    ]


if __name__ == "__main__":
    main()
