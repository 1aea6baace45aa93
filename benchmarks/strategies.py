"""Which strategy where, and what its head should read: by number of labels, and what `auto` loses to the best of them.

`--keep FILE` remembers each way of each case, so that it can be done piecewise: `--measure-only` with some `--ways` of
some cases writes no result. The table has all ways that were measured in every case.

python benchmarks/strategies.py [--domains movie amazon] [--rows 32 200 1000] [--seeds 0 1] [--keep FILE]
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
import psutil
import torch

import ledger
from fewshot import drawn
from kept import Kept
from tutelage.artifacts.corpus import Corpus
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.encoding import reading
from tutelage.progress import Silent
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.teacher import fine_tune, load, strategies

# A strategy, and whether its head is given the mean of all tokens; few-shot always is.
WAYS = (
    *("full", "full, mean", "few-shot", "head, mean", "last-n, mean", "lora", "lora, mean", "bitfit, mean", "head"),
    *("last-n", "bitfit"),
)
# Of what learns from labels; the best by validation is kept. 40 to 500 steps of 16 texts.
EPOCHS = {32: 20, 200: 6, 1000: 3, 4000: 2}

Case = tuple[str, int, int]
"""Domain, rows, seed."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="+", choices=list(vader.DOMAINS), default=["movie", "amazon"])
    parser.add_argument("--rows", type=int, nargs="+", choices=list(EPOCHS), default=[32, 200, 1000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--keep", type=Path, help="a JSON-lines file of what was measured, so that a next call goes on")
    parser.add_argument("--measure-only", action="store_true", help="write no result, for others are still missing")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    found, terminal = Kept(given.keep), Terminal()
    cases = [(domain, rows, seed) for seed in given.seeds for domain in given.domains for rows in given.rows]
    for case in cases:
        todo = [way for way in given.ways if key(case, way) not in found]
        for record in one(case, todo, terminal) if todo else []:
            found.add(record["key"], record)
            terminal.say(f"{record['key']}: {100 * np.mean(record['right']):.1f} % in {record['seconds']:.0f} s")
    if given.measure_only:
        return
    ways = [way for way in WAYS if all(key(case, way) in found for case in cases)]
    lists = [f"--domains {' '.join(given.domains)}", f"--rows {' '.join(map(str, given.rows))}"]
    lists.append(f"--seeds {' '.join(map(str, given.seeds))}")
    if len(ways) < len(WAYS):
        lists.append("--ways " + " ".join(json.dumps(way) for way in ways))
    told = table([(case, {way: found[key(case, way)] for way in ways}, chosen(case, ways)) for case in cases])
    ledger.record("Choosing a strategy", f"python benchmarks/strategies.py {' '.join(lists)}", told)


def key(case: Case, way: str) -> str:
    return f"{' '.join(map(str, case))} {way}"


def one(case: Case, ways: list[str], terminal: Terminal) -> Any:
    """Which test rows each way gets right (1) or not (0), and in how many seconds, one after the other."""
    domain, rows, seed = case
    with tempfile.TemporaryDirectory() as name:
        corpus = drawn(domain, (rows // 2, max(8, rows // 20)), seed, Path(name), terminal)
        for way in ways:
            began = time.monotonic()
            right = taught(corpus, way, rows, seed, Path(name) / way)
            yield {"key": key(case, way), "right": right, "seconds": time.monotonic() - began}


def taught(corpus: Corpus, way: str, rows: int, seed: int, folder: Path) -> list[int]:
    """1 for each test row that a teacher made in one way answers rightly."""
    network, fitted = load.load("minilm", corpus.task, reading(128, "truncate"), seed=seed)
    fine_tune.fine_tune(network, corpus, asked(way, rows), fitted=fitted, seed=seed, folder=folder, progress=Silent())
    said = network.outputs(network.tokenize(corpus["test"].texts()))
    return [int(value) for value in said.argmax(1) == corpus["test"].targets]


def asked(way: str, rows: int) -> TeacherRecipe:
    """What stands in the recipe for one way."""
    strategy, _, mean = way.partition(", ")
    given: dict[str, Any] = {"strategy": strategy, "patience": None}
    given |= {"reads": "mean"} if mean else {}
    given |= {"layers": 2} if strategy == "last-n" else {}
    given |= {} if strategy == "few-shot" else {"epochs": EPOCHS[rows], "batch_size": 16}
    return TeacherRecipe(**given)


def chosen(case: Case, ways: list[str]) -> str:
    """The way that `auto` takes: it looks at the number of labels, not at the texts."""
    from tutelage.tasks import TextClassification

    network, _ = load.load("minilm", TextClassification(("0", "1")), reading(128, "truncate"))
    targets = np.arange(case[1]) % 2.0
    settings = TeacherRecipe(strategy="auto")
    taken, _ = strategies.settled(network, settings, targets, free=psutil.virtual_memory().available)
    way = f"{taken.strategy}, mean" if taken.reads == "mean" and taken.strategy != "few-shot" else taken.strategy
    assert way in ways, f"{way}, which `auto` takes, was not measured"
    return way


def table(records: list[tuple[Case, dict[str, Any], str]]) -> list[str]:
    """A row a case, and the regret on average."""
    ways = list(records[0][1])
    lines, regrets = [], {"auto": list[float](), **{way: list[float]() for way in ways}}
    for (domain, rows, seed), record, auto in records:
        right = {way: np.array(measured["right"]) for way, measured in record.items()}
        for way, values in regrets.items():
            values.append(regret(right, auto if way == "auto" else way))
        cells = " | ".join(f"{100 * right[way].mean():.1f}" for way in ways)
        lines.append(f"| {domain} | {rows} | {seed} | {cells} | {auto} | {regrets['auto'][-1]:+.1f} |")
    told = [
        f"{way}: regret {mean(values)}, {np.mean([record[way]['seconds'] for _, record, _ in records]):.0f} s"
        for way, values in regrets.items()
        if way != "auto"
    ]
    gain = np.array(regrets["full"]) - np.array(regrets["auto"])
    worst = f"; never more than {-gain.min():.1f} points below it" if gain.min() < 0 else "; nowhere below it"
    return [
        "Accuracy in % on 600 test rows (one standard error: up to 2 points) of MiniLM. Rates are each strategy's own;",
        "20, 6, 3 (and 2) epochs of batches of 16 for what learns from labels, the best by validation (16, 20, 100 and",
        "400 rows) kept; few-shot by its defaults. `mean`: with `teacher.reads: mean`, which few-shot always has.",
        "The best of many is always lucky, so regret is counted crosswise: the best on one half of the test rows,",
        "judged on the other half. Seconds of one thread, on a machine that did other work too.",
        "",
        f"| data | rows | seed | {' | '.join(ways)} | auto takes | its regret |",
        "|---|---|---|" + "---|" * (len(ways) + 2),
        *lines,
        "",
        f"In points, mean over {len(records)} cases ± standard error, and mean time: {'; '.join(told)}.",
        "",
        f"`auto`: regret {mean(regrets['auto'])} points; {mean(list(gain))} against always `full`{worst}. Its rule was",
        "made from these cases (docs/decisions/0009), so others may treat it worse.",
    ]


def regret(right: dict[str, np.ndarray], taken: str) -> float:
    """Points that the best has over what was taken, chosen and judged on different halves of the rows."""
    found = []
    sides = [np.arange(len(right[taken])) % 2 == side for side in (0, 1)]
    for choosing, judging in (sides, sides[::-1]):
        best = max(right, key=lambda way: float(right[way][choosing].mean()))
        found.append(right[best][judging].mean() - right[taken][judging].mean())
    return 100 * float(np.mean(found))


def mean(values: list[float]) -> str:
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{np.mean(values):+.1f} ± {error:.1f}"


if __name__ == "__main__":
    main()
