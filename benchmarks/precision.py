"""What half precision changes: a teacher fine-tuned, recorded and distilled in fp32, and by `precision: auto`.

Both begin with the same weights, batches and seeds, in turns, in one process. `--keep FILE` remembers what it measured.

python benchmarks/precision.py [--domains movie amazon] [--seeds 0 1 2 3 4] [--rows 1500] [--keep FILE]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import balance as grid
import ledger
from kept import Kept
from tutelage import recipe as recipes
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording, Signals
from tutelage.beginning import Beginning
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.data.prepare import prepare
from tutelage.encoding import Reading
from tutelage.progress import Silent
from tutelage.recipe import Recipe, StudentRecipe
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.recipe_training import Arithmetic
from tutelage.student import build, distil, matching
from tutelage.student.build import Shape
from tutelage.teacher import fine_tune, load, signals
from tutelage.training import precision

SHAPE = Shape(2, 384, 12, 384)
WAYS: tuple[Arithmetic, ...] = ("fp32", "auto")
PARTS = {
    "teacher": "fine-tuning it, two epochs",
    "recording": "recording outputs and two hidden layers",
    "outputs": "recording outputs alone",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="+", default=["movie", "amazon"], choices=list(vader.DOMAINS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    if not precision.has_units():
        raise SystemExit("this processor has no units for bf16: there is nothing to compare")
    found, terminal = Kept(given.keep), Terminal()
    keys = [f"{domain} {seed} {given.rows}" for domain in given.domains for seed in given.seeds]
    for key in keys:
        if key not in found:
            domain, seed, rows = key.split()
            found.add(key, both(domain, int(seed), int(rows), terminal))
            terminal.say(key)
    ledger.record(
        "Half precision",
        f"python benchmarks/precision.py --domains {' '.join(given.domains)} "
        f"--seeds {' '.join(map(str, given.seeds))} --rows {given.rows}",
        [
            f"MiniLM, {given.rows:,} rows of each domain, {grid.TEST:,} test rows. In fp32 and by `precision: auto`,",
            "which is bf16 here; the same start, batches and seed. Seconds: median and range. Accuracies in %;",
            "differences are paired, auto less fp32, mean ± standard error over domains and seeds. A student learns in",
            "each from what either teacher said.",
            "",
            *table([found[key] for key in keys]),
        ],
    )


def both(domain: str, seed: int, rows: int, terminal: Terminal) -> dict[str, Any]:
    """Both ways for a seed; which goes first changes with the seed."""
    with tempfile.TemporaryDirectory() as name:
        recipe = recipes.load(grid.asked(domain, rows, Path(name), terminal)[0])
        corpus = prepare(recipe, Path(name) / "corpus", Silent())
        ways = WAYS if seed % 2 else WAYS[::-1]
        return {way: chain(recipe, corpus, way, seed, Path(name) / way) for way in ways}


def chain(recipe: Recipe, corpus: Corpus, way: Arithmetic, seed: int, folder: Path) -> dict[str, float]:
    """Teacher, recording and student of one way: seconds of each, and accuracies on test."""
    found, rows = dict[str, float](), [corpus["train"]]
    teacher, _ = load.load("minilm", corpus.task, Reading(128), seed=seed)
    asked = TeacherRecipe(epochs=2, patience=None, precision=way)

    def timed(part: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        found[part] = time.perf_counter() - began
        return result

    more: dict[str, Any] = {"seed": seed, "progress": Silent()}
    timed(
        "teacher",
        lambda: fine_tune.fine_tune(teacher, corpus, asked, fitted=False, folder=folder / "teacher", **more),
    )
    full = build.shape_of(teacher.model.config)
    plan = matching.plan(StudentRecipe(), SHAPE, full)
    wanted = replace(plan.recording(corpus.task.width, full.width), precision=way)

    def recorded(part: str, wanted: Recording) -> Signals:
        return signals.record(teacher, rows, wanted, folder=folder / part, progress=Silent())

    timed("outputs", lambda: recorded("outputs", Recording(corpus.task.width, precision=way)))
    told = timed("recording", lambda: recorded("recording", wanted))
    found["teacher right"] = float(np.mean(grid.right(teacher, corpus["test"])))
    for own in WAYS:
        student = Beginning(recipe, teacher, corpus, rows, Silent()).student(SHAPE, seed)
        place = folder / f"student in {own}"
        settings = StudentRecipe(epochs=4, patience=None, precision=own)

        def learn(asked: StudentRecipe = settings, of: Network = student, place: Path = place) -> None:
            transfer = distil.transfer_set(of, rows, told)
            distil.distil(of, transfer, told, corpus["validation"], asked, folder=place, plan=plan, **more)

        timed(f"student in {own}", learn)
        found[f"student in {own} right"] = float(np.mean(grid.right(student, corpus["test"])))
    return found


def table(records: list[dict[str, Any]]) -> list[str]:
    """A line for each part, and what became of the scores."""
    lines = ["| | fp32, s | auto, s | times as fast |", "|---|---|---|---|"]
    for part, title in PARTS.items():
        each = [[record[way][part] for record in records] for way in WAYS]
        lines.append(_line(title, *each))
    each = [[record[way][f"student in {own}"] for record in records for way in WAYS] for own in WAYS]
    lines += [_line("distilling two layers of 384, four epochs", *each), ""]

    def right(way: str, key: str) -> np.ndarray:
        return np.array([100 * record[way][f"{key} right"] for record in records])

    single, half = (right(way, "teacher") for way in WAYS)
    lines += [f"Accuracy of the teacher: {single.mean():.2f} in fp32, {_apart(half, single)} by auto.", ""]
    base = right("fp32", "student in fp32")
    lines.append(f"Accuracy of the student: {base.mean():.2f} with everything in fp32;")
    others = {
        "with teacher and recording by auto": right("auto", "student in fp32"),
        "with the student by auto": right("fp32", "student in auto"),
        "with all of it by auto": right("auto", "student in auto"),
    }
    return [*lines, *(f"- {title}: {_apart(found, base)}" for title, found in others.items())]


def _line(title: str, single: list[float], half: list[float]) -> str:
    ratios = [one / other for one, other in zip(single, half, strict=True)]
    return f"| {title} | {' | '.join(ledger.spread(values) for values in (single, half, ratios))} |"


def _apart(found: np.ndarray, base: np.ndarray) -> str:
    return f"{grid.mean(list(found - base))} points"


if __name__ == "__main__":
    main()
