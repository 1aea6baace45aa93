"""Issue "keep 97 %": what a search finds on four data sets, and whether it keeps on test what it promised.

python benchmarks/keep.py [--seeds 0] [--keep 0.97] [--max-mb 5] [--domains movie amazon tweets nyt] [--labelled-only]
    [--levels 3] [--search-time 1.5] [--found FILE]

The sentences of the other domains are unlabelled text for the student, unless `--labelled-only` is given. With
`--found`, what was measured is remembered in a file.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import ledger
from demo import shown
from kept import Kept
from tutelage import pipeline
from tutelage.artifacts.measurements import Measurements, Search
from tutelage.console import Terminal
from tutelage.data import vader


def written(domain: str, folder: Path, terminal: Terminal) -> Path:
    """The sentences of a domain with a rating, in an order of their own, as a CSV."""
    rated = [row for row in vader.rows(domain, vader.fetch(terminal)) if row.rating != 0]
    rated.sort(key=lambda row: hashlib.sha256(row.text.encode()).digest())
    file = folder / f"{domain}.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "label"])
        writer.writerows([row.text, "positive" if row.rating > 0 else "negative"] for row in rated)
    return file


def data_of(domain: str, folder: Path, terminal: Terminal, *, unlabelled: bool = True) -> dict[str, Any]:
    """A recipe's data: a domain's sentences, and those of all others without labels."""
    data: dict[str, Any] = {"train": str(written(domain, folder, terminal)), "max_tokens": 128}
    if unlabelled:
        data["unlabelled"] = [str(written(other, folder, terminal)) for other in vader.DOMAINS if other != domain]
    return data


def one(
    domain: str, goal: dict[str, float], seed: int, terminal: Terminal, *, unlabelled: bool, levels: int
) -> Measurements:
    """A search from the domain's sentences; a fifth of them is the test."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = pipeline.run(
            {
                "task": "text-classification",
                "data": data_of(domain, folder, terminal, unlabelled=unlabelled),
                "teacher": {"model": "minilm", "epochs": 2},
                "student": {**goal, "control": False},
                "compress": {"cascade_levels": levels},
                "output": str(folder / "run"),
                "seed": seed,
            },
            progress=terminal,
        )
        return run.measurements


def line(domain: str, seed: int, m: Measurements) -> str:
    """One row of the table."""
    search, student, teacher = m.search, m.models["student"], m.models["teacher"]
    assert search is not None
    assert m.speedup is not None
    taken = next(tried for tried in search.tried if tried.taken)
    onnx = (student.rows_per_second["onnxruntime"] or 0) / (teacher.rows_per_second["onnxruntime"] or 1)
    slow = student.latency_ms.get("through_all")
    again = sum({tried.rung: tried.seconds or 0 for tried in search.tried if tried.again}.values())
    levels = "none" if not student.answered else " / ".join(f"{share:.0%}" for share in student.answered)
    levels += f"; {student.latency_ms['mean']:.2f} and {slow or 0:.2f} ms" if student.answered else ""
    return (
        f"| {domain} | {seed} | {shown(teacher.scores['accuracy'])} | {taken.name} | {100 * (taken.surely or 0):.1f} | "
        f"{shown(m.retention)} | {m.speedup.value:.1f} | {onnx:.1f} | {(student.bytes or 0) / 1e6:.1f} | "
        f"{(search.seconds or 0) / (m.times['teacher'] or 1):.2f} | {search.texts or 1:.0%} | "
        f"{again / (m.times['teacher'] or 1):.2f} | {levels} |"
    )


def bars(lines: list[str]) -> list[str]:
    """Over data and seeds, from rows of the table: what was kept, and how often each bar was reached."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    kept, fast, onnx, size, search = (
        np.array([float(row[place].split()[0]) for row in cells]) for place in (5, 6, 7, 8, 9)
    )
    reached = {
        "kept >= 97 %": kept >= 97,
        ">= 20 x in PyTorch": fast >= 20,
        ">= 10 x in ONNX Runtime": onnx >= 10,
        "<= 5 MB": size <= 5,
        "search <= 1.5": search <= 1.5,
    }
    every = np.logical_and.reduce(list(reached.values()))
    each = "; ".join(f"{name}: {met.sum()}" for name, met in reached.items())
    promised = np.array([float(row[4]) for row in cells])
    low, high = np.array([[float(end) for end in row[5].partition("[")[2].strip("]").split(",")] for row in cells]).T
    found = [
        f"Of {len(lines)} searches reached: {each}; all of it: {every.sum()}.",
        f"Promises held: {(kept >= promised).sum()}; 97 % lies in the interval of {sum((low <= 97) & (high >= 97))}.",
        _means("Means", kept, fast, onnx),
    ]
    for place in (0, 1):
        names = np.array([row[place] for row in cells])
        for name in dict.fromkeys(names.tolist()):
            some = names == name
            found.append(_means(f"{'seed ' if place else ''}{name}", kept[some], fast[some], onnx[some]))
    return found


def _means(title: str, kept: np.ndarray, fast: np.ndarray, onnx: np.ndarray) -> str:
    error = f" ± {kept.std(ddof=1) / len(kept) ** 0.5:.1f}" if len(kept) > 1 else ""
    speed = f"{fast.mean():.1f} x in PyTorch, {onnx.mean():.1f} x in ONNX Runtime"
    return f"{title}: {kept.mean():.1f}{error} % kept, {speed}."


def ladder(domain: str, seed: int, search: Search) -> str:
    """Every rung of one search in a line."""
    rungs = [
        f"{tried.name} {shown(tried.retention)}" if tried.retention else f"{tried.name}: {tried.verdict}"
        for tried in search.tried
    ]
    return f"- {domain}, seed {seed}: {'; '.join(rungs)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="+", default=list(vader.DOMAINS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--keep", type=float, default=0.97)
    parser.add_argument("--max-mb", type=float)
    parser.add_argument("--labelled-only", action="store_true")
    parser.add_argument("--levels", type=int, choices=(2, 3), default=2)
    parser.add_argument("--search-time", type=float)
    parser.add_argument("--found", type=Path)
    given = parser.parse_args()
    goal = {"keep": given.keep} | ({"max_mb": given.max_mb} if given.max_mb else {})
    goal |= {"search_time": given.search_time} if given.search_time else {}
    terminal, lines, ladders, found = Terminal(), [], [], Kept(given.found)
    for domain in given.domains:
        for seed in given.seeds:
            key = f"{domain} {seed} {goal} {given.labelled_only} {given.levels} promised together"
            if key not in found:
                m = one(domain, goal, seed, terminal, unlabelled=not given.labelled_only, levels=given.levels)
                assert m.search is not None
                found.add(key, {"line": line(domain, seed, m), "ladder": ladder(domain, seed, m.search)})
            print(found[key]["line"], found[key]["ladder"], sep="\n", flush=True)
            lines.append(found[key]["line"])
            ladders.append(found[key]["ladder"])
    ledger.record(
        f"6. Keep a share: the search{f', within {given.max_mb:g} MB' if given.max_mb else ''}",
        f"python benchmarks/keep.py --keep {given.keep}{f' --max-mb {given.max_mb:g}' if given.max_mb else ''} "
        f"--domains {' '.join(given.domains)} --seeds {' '.join(map(str, given.seeds))}"
        f"{' --labelled-only' if given.labelled_only else ''}{' --levels 3' if given.levels == 3 else ''}"
        f"{f' --search-time {given.search_time:g}' if given.search_time else ''}",
        [
            f"`student: {goal}` on each domain's sentences, with "
            f"{'nothing' if given.labelled_only else 'those of the other domains'} as unlabelled text; teacher MiniLM,",
            "two epochs. 'Promised' is the lower bound that holds of all rungs together, 80 % one-sided, on rows kept",
            "aside and those of validation;",
            "'kept' is of the test rows, with a 95 % interval; 'search / teacher' is the time of choosing how to",
            "learn, and of training and compressing every student and cascade, next to the teacher's own fine-tuning;",
            "'read' the share of the unlabelled texts that rungs read meanwhile, and 'again' the time in which some",
            "of them then learned from all. 'Levels': the share of the test rows that each level of a cascade",
            "answered; milliseconds of one row, mean and through every level.",
            "Bars: kept >= 97 %, >= 20 x the teacher in PyTorch, >= 10 x in ONNX Runtime, <= 5 MB; search <= 1.5.",
            "",
            "| data | seed | teacher % | taken | promised % | kept % | x PyTorch | x ONNX | MB | search / teacher | "
            "read | again / teacher | levels |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
            *lines,
            "",
            *bars(lines),
            "",
            "Every rung, share kept on the rows that judge, with its 60 % interval:",
            "",
            *ladders,
        ],
    )


if __name__ == "__main__":
    main()
