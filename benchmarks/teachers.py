"""Figure 3 of "keep 97 %": does a linear model know which of several teachers a student will learn most from?

Seven teachers of one domain: fine-tuned on few rows or all, for one epoch or too many, the head alone, on labels of
which some are wrong, and on another domain. Each teaches three students.

python benchmarks/teachers.py [--domains amazon movie] [--seeds 0] [--rows 1500] [--keep FILE]
"""

from __future__ import annotations

import argparse
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import balance as grid
import ledger
from kept import Kept
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.progress import Silent
from tutelage.student import distil
from tutelage.student.build import Shape
from tutelage.teachers import School

SHAPES = {"narrow": Shape(2, 128, 4, 512), "one": Shape(1, 384, 12, 1536), "two": Shape(2, 384, 12, 384)}
MEASURES = {
    "taught": "loss of a linear model that it taught",
    "own": "its own loss, calibrated",
    "score": "its accuracy",
}


@dataclass(frozen=True)
class Kind:
    """One way to make a teacher."""

    name: str
    share: float = 1.0
    """Of the training rows that it sees."""
    wrong: float = 0.0
    """Share of its labels that are turned round."""
    elsewhere: bool = False
    """Whether it learns from another domain."""
    settings: dict[str, Any] = field(default_factory=lambda: {"epochs": 1})


KINDS = (
    Kind("all rows, 1 epoch"),
    Kind("all rows, 5 epochs", settings={"epochs": 5, "patience": None}),
    Kind("a third of the rows", share=1 / 3),
    Kind("a tenth of the rows", share=0.1, settings={"epochs": 3}),
    Kind("head alone", settings={"epochs": 3, "strategy": "head"}),
    Kind("a quarter of the labels wrong", wrong=0.25),
    Kind("another domain", elsewhere=True),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="+", default=["amazon", "movie"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    terminal, found = Terminal(), Kept(given.keep)
    for seed in given.seeds:
        for domain in given.domains:
            for kind in KINDS:
                key = f"{domain} {kind.name} {seed} {given.rows}"
                if key not in found:
                    terminal.say(key)
                    found.add(key, one(domain, kind, seed, given.rows, terminal))
    cells = {
        (domain, seed): [found[f"{domain} {kind.name} {seed} {given.rows}"] for kind in KINDS]
        for seed in given.seeds
        for domain in given.domains
    }
    ledger.record(
        "Choosing a teacher",
        f"python benchmarks/teachers.py --domains {' '.join(given.domains)} "
        f"--seeds {' '.join(map(str, given.seeds))} --rows {given.rows}",
        table(cells, given.rows),
    )


def one(domain: str, kind: Kind, seed: int, rows: int, terminal: Terminal) -> dict[str, Any]:
    """What is known of one teacher before any student, and what every student makes of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, test = sentences(domain, rows, terminal)
        recipe: dict[str, Any] = {
            "task": "text-classification",
            "data": {
                "train": grid.written(train, folder / "train.jsonl"),
                "test": grid.written(test, folder / "test.jsonl"),
                "max_tokens": 128,
                "validation_share": 0.15,
            },
            "student": {"wide": False, "balance": "given"},
            "output": str(folder / "run"),
            "seed": seed,
        }
        seen = grid.written(taught(kind, domain, train, seed, terminal), folder / "seen.jsonl")
        made = {
            **recipe,
            "data": {**recipe["data"], "train": seen},
            "teacher": {"model": "minilm", **kind.settings},
            "output": str(folder / "made"),
        }
        grid.workshop(made)
        recipe["teacher"] = {"model": str(folder / "made" / "teacher"), "fine_tune": False}
        workshop = grid.workshop(recipe)
        school = School(
            workshop.recipe,
            workshop.folder,
            workshop.corpus,
            workshop.teacher.reading,
            workshop.progress,
            lambda _: None,
        )
        judged = school._judged(kind.name, workshop.teacher)
        record: dict[str, Any] = {
            "taught": float(judged.taught.mean()),
            "own": float(judged.own.mean()),
            "score": judged.score,
            "test": float(np.mean(grid.right(workshop.teacher, workshop.corpus["test"]))),
            "students": {},
        }
        for student, shape in SHAPES.items():
            settings = workshop.recipe.student.model_copy(update={} if student == "two" else {"hidden": 0.0})
            plan = workshop.plan(settings, shape)
            told = workshop.signals(workshop.recording([plan]))
            network = workshop.beginning.student(shape)
            distil.distil(
                network,
                distil.transfer_set(network, workshop.splits, told),
                told,
                workshop.corpus["validation"],
                settings,
                seed=seed,
                folder=folder / "training" / student,
                progress=Silent(),
                plan=plan,
            )
            record["students"][student] = float(np.mean(grid.right(network, workshop.corpus["test"])))
        return record


def sentences(domain: str, rows: int, terminal: Terminal) -> tuple[list[vader.Rating], list[vader.Rating]]:
    """Rows to learn from, and those of test, in an order of their own."""
    rated = [row for row in vader.rows(domain, vader.fetch(terminal)) if row.rating != 0]
    rated.sort(key=lambda row: grid.hashlib.sha256(row.text.encode()).digest())
    return rated[: -grid.TEST][:rows], rated[-grid.TEST :]


def taught(kind: Kind, domain: str, train: list[vader.Rating], seed: int, terminal: Terminal) -> list[vader.Rating]:
    """What a teacher of some kind learns from."""
    if kind.elsewhere:
        other = "movie" if domain != "movie" else "amazon"
        return sentences(other, len(train), terminal)[0]
    some, chance = train[: round(kind.share * len(train))], random.Random(seed)
    return [row._replace(rating=-row.rating) if chance.random() < kind.wrong else row for row in some]


def table(cells: dict[tuple[str, int], list[dict[str, Any]]], rows: int) -> list[str]:
    """What each teacher is and teaches, and how well each measure ranks them."""
    lines, correlations = [], {measure: [] for measure in MEASURES}
    for (domain, seed), records in cells.items():
        for kind, record in zip(KINDS, records, strict=True):
            students = " | ".join(f"{100 * record['students'][student]:.1f}" for student in SHAPES)
            lines.append(
                f"| {domain} | {seed} | {kind.name} | {100 * record['test']:.1f} | {record['taught']:.4f} | "
                f"{record['own']:.4f} | {100 * record['score']:.1f} | {students} |"
            )
        for measure, values in correlations.items():
            sign = 1 if measure == "score" else -1
            for student in SHAPES:
                reached = [record["students"][student] for record in records]
                values.append(spearmanr([sign * record[measure] for record in records], reached).statistic)
    return [
        f"Seven teachers (MiniLM) of {rows:,} rows, three students each without a wide part, accuracy in % on",
        f"{grid.TEST} test rows (one standard error: about 1 point). *Taught* is what `teacher.models` goes by: the",
        "validation loss of a linear model that learned from the teacher alone. Bar: rank correlation with what the",
        "students reach >= 0.7.",
        "",
        f"| data | seed | teacher | test % | taught | own loss | validation % | {' | '.join(SHAPES)} |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *lines,
        "",
        "Spearman's rank correlation with what the students reach, mean and range over data, seeds and students:",
        "",
        *(
            f"- {MEASURES[measure]}: {np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
            for measure, values in correlations.items()
        ),
    ]


if __name__ == "__main__":
    main()
