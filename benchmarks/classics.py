"""The classical recipes of `examples/` keep their own order: labels < soft targets < layers too.

python benchmarks/classics.py [--rows 1500] [--seeds 0 1 2] [--recipes distilbert tinybert minilm]
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
from tutelage import demo, storage
from tutelage import recipe as recipes
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.network import Network
from tutelage.console import Terminal
from tutelage.data.prepare import prepare
from tutelage.encoding import reading
from tutelage.folder import RunFolder
from tutelage.made import Bench
from tutelage.progress import Logged
from tutelage.recipe import Recipe, StudentRecipe
from tutelage.recipe_matching import MatchingRecipe
from tutelage.student import build, stages
from tutelage.teacher import fine_tune, load
from tutelage.workshop import Workshop

EXAMPLES = Path(__file__).parents[1] / "examples"
RECIPES = ("distilbert", "tinybert", "minilm")
# Everything about layers as it is when left out, and off.
_NO_LAYERS = {name: MatchingRecipe.model_fields[name].default for name in MatchingRecipe.model_fields}
_NO_LAYERS["hidden"] = 0.0


def ways(settings: StudentRecipe) -> dict[str, StudentRecipe]:
    """The same student from the same start, for as many epochs: on labels, on the head's answers, and as it is."""
    plain = stages.together(settings).model_copy(update=_NO_LAYERS)
    return {"labels": plain.model_copy(update={"alpha": 0.0}), "outputs": plain, "recipe": settings}


def score(network: Network, split: Split) -> float:
    """The headline score on a split."""
    predictions = network.task.predict(network.outputs(network.tokenize(split.texts())))
    return network.task.headline.compute(predictions, split.targets)


def one(names: list[str], rows: int, seed: int, terminal: Terminal) -> dict[str, dict[str, float]]:
    """Scores on test of each recipe's ways, and of their common teacher, for a seed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = demo.recipe(folder / "run", terminal).model_copy(update={"seed": seed})
        progress = Logged(terminal, folder / "log.jsonl")
        whole = prepare(base, folder / "corpus", progress)
        train = Split("train", whole["train"].table.slice(0, rows))
        corpus = Corpus(whole.folder, whole.task, {**whole.splits, "train": train}, train.fingerprint, {})
        teacher = taught(base, corpus, seed, folder, progress)
        found, done = {"teacher": {"teacher": score(teacher, corpus["test"])}}, dict[str, float]()
        for recipe in names:
            given = recipes.load(EXAMPLES / f"{recipe}.yaml").student
            found[recipe] = {}
            for way, settings in ways(given).items():
                started = time.monotonic()
                # Without layers, recipes for students of one shape are the same.
                same = json.dumps(settings.model_dump(), sort_keys=True)
                if same in done:
                    found[recipe][way] = done[same]
                    continue
                changed = base.model_copy(update={"student": settings, "output": str(folder / recipe / way)})
                run = RunFolder.claim(changed, resume=False)
                shop = Workshop(changed, run, corpus, teacher, "teacher", progress, torch.get_num_threads())
                shape = build.choose(settings, teacher.model.config)
                learned = shop.learn(settings, shape, Bench(run.student, run.export))
                found[recipe][way] = done[same] = score(learned.network, corpus["test"])
                terminal.say(
                    f"seed {seed}, {recipe}, {way}: {found[recipe][way]:.4f} in {time.monotonic() - started:.0f} s"
                )
        return found


def taught(base: Recipe, corpus: Corpus, seed: int, folder: Path, progress: Any) -> Network:
    """The teacher of all recipes, fine-tuned for two epochs."""
    settings = base.teacher.model_copy(update={"epochs": 2})
    read = reading(base.data.max_tokens, base.data.long_text)
    network, fitted = load.load(settings.model, corpus.task, read, seed=seed)
    fine_tune.fine_tune(
        network, corpus, settings, fitted=fitted, seed=seed, folder=folder / "teacher", progress=progress
    )
    return network


def table(found: list[dict[str, dict[str, float]]], names: list[str], seeds: list[int]) -> list[str]:
    """A row a recipe and seed, and the means."""
    lines = ["| recipe | seed | labels | outputs | recipe | outputs - labels | recipe - outputs |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name in names:
        values = np.array([[100 * one[name][way] for way in ("labels", "outputs", "recipe")] for one in found])
        mean = [("mean", values.mean(0))] if len(seeds) > 1 else []
        for label, row in [*zip(map(str, seeds), values, strict=True), *mean]:
            low, middle, high = row
            lines.append(
                f"| {name} | {label} | {low:.2f} | {middle:.2f} | {high:.2f} | {middle - low:+.2f} "
                f"| {high - middle:+.2f} |"
            )
    return lines


def kept(file: Path | None, names: list[str], rows: int, seed: int, terminal: Terminal) -> dict[str, dict[str, float]]:
    """What an earlier call found for a seed, or what is found now."""
    before = json.loads(file.read_text()) if file and file.exists() else {}
    key = json.dumps([sorted(names), rows, seed])
    if key not in before:
        before[key] = one(names, rows, seed, terminal)
        if file:
            storage.write_json(file, before)
    found: dict[str, dict[str, float]] = before[key]
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--dry", action="store_true", help="print the table and leave RESULTS.md as it is")
    parser.add_argument("--keep", type=Path, help="a JSON file for each seed's scores, so that a next call goes on")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    terminal = Terminal()
    found = [kept(given.keep, given.recipes, given.rows, seed, terminal) for seed in given.seeds]
    teachers = ", ".join(f"{100 * each['teacher']['teacher']:.2f}" for each in found)
    lines = table(found, given.recipes, given.seeds)
    if given.dry:
        print("\n".join([f"teachers: {teachers}", *lines]))
        return
    ledger.record(
        "Classical recipes",
        f"python benchmarks/classics.py --rows {given.rows} --seeds {' '.join(map(str, given.seeds))}",
        [
            f"Accuracy in percent on 2,568 movie sentences; {given.rows:,} to learn from. Teacher MiniLM, two epochs: "
            f"{teachers}.",
            "Each student three times from the same start, for as many epochs: on labels, on the head's answers as the",
            "recipe weighs them, and as the recipe is; without layers, tinybert and minilm are one and the same. No",
            "wide part, nothing compressed. One standard error of an accuracy on these rows is 0.8 points, which does",
            "not count what another seed would change. Bars: outputs above labels, the recipe above outputs.",
            "",
            *lines,
        ],
    )


if __name__ == "__main__":
    main()
