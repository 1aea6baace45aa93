"""Few labels of one's own and more of a related task: mixed in, or learned first, and what that does elsewhere.

python benchmarks/moredata.py [--seeds 0 1 2] [--rows 500] [--more 2000]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ledger
from tutelage import recipe as recipes
from tutelage import storage
from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.data.prepare import prepare
from tutelage.encoding import reading
from tutelage.folder import RunFolder
from tutelage.progress import Logged
from tutelage.teachers import School

TESTED = {"amazon": 1000, "tweets": 500, "nyt": 500}
"""Rows of each domain that are answered; the first is the task's own."""
VALIDATED = 150
EPOCHS, LONGER = 3, 7
Figures = dict[str, dict[str, float]]


def ways(movie: str) -> dict[str, dict[str, Any]]:
    """What changes in the recipe: in `data`, and in `teacher`."""
    return {
        "alone": {},
        "alone, longer": {"teacher": {"epochs": LONGER, "patience": None}},
        "more, weight 1": {"data": {"more": [{"source": movie}]}, "teacher": {"epochs": 2}},
        "more, weight 0.25": {"data": {"more": [{"source": movie, "weight": 0.25}]}},
        "first": {"teacher": {"first": {"train": movie}}},
    }


def files(folder: Path, rows: int, more: int, seed: int, terminal: Terminal) -> dict[str, str]:
    """CSV files of every role for a seed; sentences rated exactly 0 are left out."""
    archive = vader.fetch(terminal)
    found = {}

    def write(name: str, some: Sequence[vader.Rating]) -> None:
        file = folder / f"{name}.csv"
        with file.open("w", newline="", encoding="utf-8") as opened:
            labelled = [(row.text, "positive" if row.rating > 0 else "negative") for row in some]
            csv.writer(opened).writerows([("text", "label"), *labelled])
        found[name] = str(file)

    def shuffled(domain: str) -> list[vader.Rating]:
        rated = sorted({row.text: row for row in vader.rows(domain, archive) if row.rating != 0}.values())
        return [rated[place] for place in np.random.default_rng([seed, len(domain)]).permutation(len(rated))]

    amazon = shuffled("amazon")
    write("amazon", amazon[: TESTED["amazon"]])
    rest = amazon[TESTED["amazon"] :]
    write("validation", rest[:VALIDATED])
    write("train", rest[VALIDATED : VALIDATED + rows])
    write("movie", shuffled("movie")[:more])
    for domain in ("tweets", "nyt"):
        write(domain, shuffled(domain)[: TESTED[domain]])
    return found


def score(network: Network, split: Split) -> float:
    """The headline score on a split."""
    predictions = network.task.predict(network.outputs(network.tokenize(split.texts())))
    return network.task.headline.compute(predictions, split.targets)


class Kept:
    """What was found before, in a JSON file that a next call goes on from; without a file, only while this one runs."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._found: Figures = json.loads(file.read_text()) if file and file.exists() else {}

    def get(self, key: str) -> dict[str, float] | None:
        """The figures of a way."""
        return self._found.get(key)

    def put(self, key: str, figures: dict[str, float]) -> None:
        """Keep the figures of a way."""
        self._found[key] = figures
        if self._file:
            storage.write_json(self._file, self._found)


def one(rows: int, more: int, seed: int, kept: Kept, terminal: Terminal) -> Figures:
    """Scores and seconds of each way's teacher for a seed."""
    found: Figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = files(folder, rows, more, seed, terminal)
        for number, (way, changes) in enumerate(ways(given["movie"]).items()):
            key = json.dumps([rows, more, seed, way])
            before = kept.get(key)
            if before is None:
                before = taught(given, changes, folder / str(number), seed, terminal)
                terminal.say(f"seed {seed}, {way}: {before}")
                kept.put(key, before)
            found[way] = before
    return found


def taught(
    given: dict[str, str], changes: dict[str, Any], output: Path, seed: int, terminal: Terminal
) -> dict[str, float]:
    """Scores of a teacher in every domain, and the seconds that it took."""
    data = {"train": given["train"], "validation": given["validation"], "test": given["amazon"], "max_tokens": 128}
    data |= {"also_test": [{"source": given["tweets"]}, {"source": given["nyt"]}]}
    recipe = recipes.load(
        {
            "task": "text-classification",
            "data": {**data, **changes.get("data", {})},
            "teacher": {"epochs": EPOCHS, **changes.get("teacher", {})},
            "output": str(output),
            "seed": seed,
        }
    )
    run = RunFolder.claim(recipe, resume=False)
    corpus = prepare(recipe, run.corpus, terminal)
    progress = Logged(terminal, output / "log.jsonl")
    started = time.monotonic()
    _, teacher = School(recipe, run, corpus, reading(128, "truncate"), progress, lambda _: None).teacher()
    seconds = time.monotonic() - started
    tests = {"amazon": corpus["test"], **corpus.others}
    return {domain: score(teacher, split) for domain, split in tests.items()} | {"seconds": seconds}


def table(found: Sequence[Figures], seeds: Sequence[int]) -> list[str]:
    """A row a way with its means, then the paired differences from the own rows alone, seed by seed."""
    names = list(found[0])
    lines = ["| teacher | " + " | ".join(TESTED) + " | seconds |", "|---|" + "---|" * (len(TESTED) + 1)]
    for way in names:
        means = [100 * np.mean([each[way][domain] for each in found]) for domain in TESTED]
        taken = float(np.median([each[way]["seconds"] for each in found]))
        lines.append(f"| {way} | " + " | ".join(f"{mean:.1f}" for mean in means) + f" | {taken:.0f} |")
    seeded = ", ".join(map(str, seeds))
    lines += ["", f"Points above `alone`, mean and (seeds {seeded}):", ""]
    lines += ["| teacher | " + " | ".join(TESTED) + " |", "|---|" + "---|" * len(TESTED)]
    for way in names[1:]:
        cells = []
        for domain in TESTED:
            gains = [100 * (each[way][domain] - each["alone"][domain]) for each in found]
            cells.append(f"{np.mean(gains):+.1f} ({', '.join(f'{gain:+.1f}' for gain in gains)})")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--more", type=int, default=2000)
    parser.add_argument("--dry", action="store_true", help="print the table and leave RESULTS.md as it is")
    parser.add_argument("--keep", type=Path, help="a JSON file for each seed's scores, so that a next call goes on")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    terminal = Terminal()
    seeds = " ".join(map(str, given.seeds))
    kept = Kept(given.keep)
    found = [one(given.rows, given.more, seed, kept, terminal) for seed in given.seeds]
    lines = table(found, given.seeds)
    if given.dry:
        print("\n".join(lines))
        return
    ledger.record(
        "More data",
        f"python benchmarks/moredata.py --rows {given.rows} --more {given.more} --seeds {seeds}",
        [
            f"Accuracy in percent of MiniLM as teacher: {given.rows:,} Amazon sentences of its own, {VALIDATED} for "
            f"validation, and {given.more:,}",
            f"from movie reviews, mixed in or learned first. Tested on {TESTED['amazon']:,} Amazon sentences, and by",
            f"`also_test` on {TESTED['tweets']} tweets and {TESTED['nyt']} sentences of editorials. {EPOCHS} epochs; 2 "
            "where all movie rows are mixed in, one more",
            f"over the movie rows where they come first, {LONGER} of the own rows in `alone, longer`, as many steps as "
            "`first` has. The epoch",
            "that validates best is kept. One standard error of an accuracy is 1.3 points on 1,000 rows, 1.9 on 500;",
            "each seed draws other rows. Seconds: the median of one thread of a machine that was shared.",
            "",
            *lines,
        ],
    )


if __name__ == "__main__":
    main()
