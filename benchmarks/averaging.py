"""What students of a teacher that reads the mean of all tokens do with the layer that takes it.

On top: beside their own layers, as the library does. In place: as if it were an ordinary layer, the last. Left out:
from the layers below alone.

python benchmarks/averaging.py [--rows 400] [--unlabelled 1500] [--seeds 0 1]
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ledger
from balance import right, workshop, written
from kept import Kept
from tutelage.artifacts.averaging import mark
from tutelage.artifacts.network import Network
from tutelage.compress import vocabulary
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.student import build, distil, initialise, ladder, matching

ARMS = ("on top", "in place", "left out")
TEST, EPOCHS = 1000, 4


@dataclass(frozen=True)
class Start:
    """A teacher as one arm sees it when a student begins, and the student's shape."""

    teacher: Network
    settings: StudentRecipe

    @property
    def shape(self) -> build.Shape:
        return build.choose(self.settings, self.teacher.model.config)

    @property
    def plan(self) -> matching.Plan:
        return matching.plan(self.settings, self.shape, build.shape_of(self.teacher.model.config))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--unlabelled", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--keep", type=Path, help="a JSON-lines file of what was measured, so that a next call goes on")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    found, terminal = Kept(given.keep), Terminal()
    for seed in given.seeds:
        key = f"{given.rows} {given.unlabelled} {seed}"
        if key not in found:
            found.add(key, one(given.rows, given.unlabelled, seed, terminal))
    seeds = " ".join(map(str, given.seeds))
    ledger.record(
        "Students of a teacher that reads the mean",
        f"python benchmarks/averaging.py --rows {given.rows} --unlabelled {given.unlabelled} --seeds {seeds}",
        table([found[f"{given.rows} {given.unlabelled} {seed}"] for seed in given.seeds], given),
    )


def one(rows: int, unlabelled: int, seed: int, terminal: Terminal) -> dict[str, Any]:
    """Test accuracy, weights and milliseconds a row of each student, and the teacher's accuracy."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rated = [row for row in vader.rows("movie", vader.fetch(terminal)) if row.rating != 0]
        order = [rated[i] for i in np.random.default_rng(seed).permutation(len(rated))]
        test, train, more = order[:TEST], order[TEST : TEST + rows], order[TEST + rows : TEST + rows + unlabelled]
        (folder / "more.txt").write_text("\n".join(row.text for row in more), encoding="utf-8")
        shop = workshop(
            {
                "task": "text-classification",
                "data": {
                    "train": written(train, folder / "train.jsonl"),
                    "test": written(test, folder / "test.jsonl"),
                    "unlabelled": str(folder / "more.txt"),
                    "max_tokens": 128,
                },
                "teacher": {"reads": "mean", "epochs": 3, "patience": None},
                "student": {"wide": False, "balance": "given"},
                "seed": seed,
                "output": str(folder / "run"),
            }
        )
        test_rows = shop.corpus["test"]
        record: dict[str, Any] = {"teacher": float(np.mean(right(shop.teacher, test_rows))), "students": {}}
        for layers in (1, 2):
            settings = StudentRecipe(
                layers=layers, epochs=EPOCHS, balance="given", patience=None, hidden=0.0 if layers == 1 else 1.0
            )
            starts = {arm: Start(seen(arm, shop.teacher), settings) for arm in ARMS}
            words = vocabulary.of_corpus(shop.teacher, shop.corpus, settings, more=shop.splits[1:])
            for arm, start in starts.items():
                told = shop.signals(shop.recording([start.plan]))
                student = initialise.create(
                    start.teacher, start.shape, tokenizer=words.tokenizer, kept=words.kept, seed=seed
                )
                student.model.get_input_embeddings().weight.requires_grad_(False)
                transfer = distil.transfer_set(student, shop.splits, told)
                distil.distil(
                    student,
                    transfer,
                    told,
                    shop.corpus["validation"],
                    settings,
                    seed=seed,
                    folder=folder / f"{arm} {layers}",
                    progress=Silent(),
                    plan=start.plan,
                )
                seconds = ladder.seconds_to_read(student, student.tokenize(test_rows.texts()[:128]))
                inner = student.parameters - student.model.get_input_embeddings().weight.numel()
                accuracy = float(np.mean(right(student, test_rows)))
                record["students"][f"{layers} {arm}"] = {"score": accuracy, "inner": inner, "ms": 1000 * seconds / 128}
                terminal.say(f"seed {seed}, {layers} layers, {arm}: {record['students'][f'{layers} {arm}']}")
        return record


def seen(arm: str, teacher: Network) -> Network:
    """The teacher with its averaging layer as it is, taken for any other, or gone."""
    found = replace(teacher, model=copy.deepcopy(teacher.model))
    if arm != "on top":
        mark(found.model.config, False)
    if arm == "left out":
        del found.model.bert.encoder.layer[-1]
        found.model.config.num_hidden_layers -= 1
    return found


def table(records: list[dict[str, Any]], given: argparse.Namespace) -> list[str]:
    """A row a student."""
    teachers = ", ".join(f"{100 * record['teacher']:.1f}" for record in records)
    lines = []
    for layers in (1, 2):
        for arm in ARMS:
            each = [record["students"][f"{layers} {arm}"] for record in records]
            scores = ", ".join(f"{100 * one['score']:.1f}" for one in each)
            time = ledger.spread([one["ms"] for one in each])
            lines.append(f"| {layers} | {arm} | {scores} | {each[0]['inner'] / 1e6:.2f} | {time} |")
    return [
        f"{given.rows} labelled and {given.unlabelled:,} other movie sentences; MiniLM reading the mean, 3 epochs:",
        f"{teachers} %. Students of its width, feed-forward block as wide, {EPOCHS} epochs, following the teacher",
        "(and, with two layers, its hidden states). Accuracy in % on 1,000 test rows, one figure a seed (one standard",
        "error: 1.5 points); millions of weights without embeddings; time of a row in PyTorch, one thread, the last",
        "layer at the first token only.",
        "",
        "| layers | the averaging layer | accuracy | weights, M | ms a row |",
        "|---|---|---|---|---|",
        *lines,
    ]


if __name__ == "__main__":
    main()
