"""Which strategy where: six of them by number of labels, and what `auto` loses to the best and gains over `full`.

`--keep FILE` remembers what was trained, so that it can be done piecewise.

python benchmarks/strategies.py [--domains movie amazon] [--rows 32 200 1000] [--seeds 0 1]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

import ledger
from fewshot import drawn, kept
from tutelage.artifacts.corpus import Corpus
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.encoding import reading
from tutelage.progress import Silent
from tutelage.recipe_teacher import TeacherRecipe
from tutelage.teacher import fine_tune, load
from tutelage.teacher.strategies import choose

WAYS = ("full", "last-n", "head", "lora", "bitfit", "few-shot")
# Of what learns from labels; the best by validation is kept. About 64 to 190 steps of 16 texts.
EPOCHS = {32: 20, 200: 6, 1000: 3}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="+", choices=list(vader.DOMAINS), default=["movie", "amazon"])
    parser.add_argument("--rows", type=int, nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--keep", type=Path, help="a JSON-lines file of scores, so that a next call goes on")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    found, terminal = kept(given.keep), Terminal()
    cases = [(domain, rows, seed) for seed in given.seeds for domain in given.domains for rows in given.rows]
    for domain, rows, seed in cases:
        key = f"{domain} {rows} {seed}"
        if key not in found:
            found[key] = one(domain, rows, seed, terminal)
            terminal.say(f"{key}: {json.dumps({way: sum(ok) for way, ok in found[key]['right'].items()})}")
            if given.keep:
                with given.keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": key, **found[key]}) + "\n")
    lists = [f"--domains {' '.join(given.domains)}", f"--rows {' '.join(map(str, given.rows))}"]
    lists.append(f"--seeds {' '.join(map(str, given.seeds))}")
    told = table([(case, found["{} {} {}".format(*case)]) for case in cases])
    ledger.record("Choosing a strategy", f"python benchmarks/strategies.py {' '.join(lists)}", told)


def one(domain: str, rows: int, seed: int, terminal: Terminal) -> dict[str, Any]:
    """Which test rows each strategy gets right (1) or not (0), and what `auto` takes."""
    with tempfile.TemporaryDirectory() as name:
        corpus = drawn(domain, (rows // 2, max(8, rows // 20)), seed, Path(name), terminal)
        right = {way: taught(corpus, way, rows, seed, Path(name) / way) for way in WAYS}
        network, _ = load.load("minilm", corpus.task, reading(128, "truncate"), seed=seed)
        known = choose.facts(network, corpus["train"].targets, free=psutil.virtual_memory().available)
        taken, _ = choose.choose(known, TeacherRecipe(strategy="auto"), lambda _: True)
        return {"right": right, "auto": taken}


def taught(corpus: Corpus, way: str, rows: int, seed: int, folder: Path) -> list[int]:
    """1 for each test row that a teacher made in one way answers rightly."""
    asked: dict[str, Any] = {"strategy": way, "patience": None}
    asked |= {"layers": 2} if way == "last-n" else {}
    asked |= {} if way == "few-shot" else {"epochs": EPOCHS[rows], "batch_size": 16}
    network, fitted = load.load("minilm", corpus.task, reading(128, "truncate"), seed=seed)
    fine_tune.fine_tune(
        network, corpus, TeacherRecipe(**asked), fitted=fitted, seed=seed, folder=folder, progress=Silent()
    )
    said = network.outputs(network.tokenize(corpus["test"].texts()))
    return [int(value) for value in said.argmax(1) == corpus["test"].targets]


def table(records: list[tuple[tuple[str, int, int], dict[str, Any]]]) -> list[str]:
    """A row a case, and the regret on average."""
    lines, regrets = [], {"auto": list[float](), **{way: list[float]() for way in WAYS}}
    for (domain, rows, seed), record in records:
        right = {way: np.array(ok) for way, ok in record["right"].items()}
        for way, values in regrets.items():
            values.append(regret(right, record["auto"] if way == "auto" else way))
        cells = " | ".join(f"{100 * right[way].mean():.1f}" for way in WAYS)
        lines.append(f"| {domain} | {rows} | {seed} | {cells} | {record['auto']} | {regrets['auto'][-1]:+.1f} |")
    gain = np.array(regrets["full"]) - np.array(regrets["auto"])
    worst = f"; never more than {-gain.min():.1f} points below it" if gain.min() < 0 else "; nowhere below it"
    return [
        "Accuracy in % on 600 test rows (one standard error: up to 2 points) of MiniLM. Rates are each strategy's own;",
        "20, 6 and 3 epochs of batches of 16 for what learns from labels, the best by validation (16, 20 and 100 rows)",
        "kept; few-shot by its defaults. The best of six is always lucky, so regret is counted crosswise: the best on",
        "one half of the test rows, judged on the other half.",
        "",
        f"| data | rows | seed | {' | '.join(WAYS)} | auto takes | its regret |",
        "|---|---|---|" + "---|" * (len(WAYS) + 2),
        *lines,
        "",
        f"Regret in points, mean over {len(records)} cases ± standard error: "
        + "; ".join(f"{way} {mean(values)}" for way, values in regrets.items())
        + ".",
        f"`auto` against always `full`: {mean(list(gain))} points{worst}.",
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
