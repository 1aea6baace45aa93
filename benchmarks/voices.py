"""What it is worth that students hear more, or somebody else, than one teacher: a linear part beside it, several at
once, the epoch that teaches most, or an assistant.

For each (domain, seed) the same students learn from the same texts; what differs is what they are told.

python benchmarks/voices.py [--domains movie amazon] [--seeds 0 1 2] [--rows 1500] [--unlabelled 3000] [--keep FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import balance as grid
import ledger
from kept import Kept
from tutelage.artifacts.network import Network
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.progress import Silent
from tutelage.student import distil, widen
from tutelage.student.build import Shape
from tutelage.workshop import Workshop

SHAPES = {"narrow": Shape(2, 128, 4, 512), "one": Shape(1, 384, 12, 1536), "two": Shape(2, 384, 12, 384)}
_FIVE = {"epochs": 5, "patience": None}
# What each changes in the recipe's teacher; whatever says how long it learns makes one of its own.
WAYS: dict[str, dict[str, Any]] = {
    "the teacher alone": {},
    "with a linear part": {"wide": "auto"},
    "three teachers": {"combine": "all"},
    "three teachers, with a linear part": {"combine": "all", "wide": "auto"},
    "five epochs": _FIVE,
    "five epochs, the one that teaches most": {**_FIVE, "candidates": "epochs"},
    "five epochs, all of them": {**_FIVE, "candidates": "epochs", "combine": "all"},
    "an assistant": {},
}
_STUDENT: dict[str, dict[str, Any]] = {"an assistant": {"assistant": {"size": "medium"}}}
_TEACHERS = 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="+", default=["movie", "amazon"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--students", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--unlabelled", type=int, default=3000)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    terminal, found = Terminal(), Kept(given.keep)
    records = []
    for domain in given.domains:
        for seed in given.seeds:
            key = f"{domain} {seed} {given.rows} {given.unlabelled} {given.ways} {given.students}"
            if key not in found:
                terminal.say(key)
                found.add(key, one(domain, seed, given, terminal))
            records.append({"domain": domain, "seed": seed, **found[key]})
    ledger.record(
        "Students that hear more than one teacher",
        f"python benchmarks/voices.py --domains {' '.join(given.domains)} "
        f"--seeds {' '.join(map(str, given.seeds))} --rows {given.rows} --unlabelled {given.unlabelled}",
        table(records, given),
    )


def one(domain: str, seed: int, given: argparse.Namespace, terminal: Terminal) -> dict[str, Any]:
    """Which test rows each student gets right, by what it was told; and what told it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = of_domain(domain, given, folder, terminal, seed=seed)
        several = any(takes_all(WAYS[way]) for way in given.ways)
        places = []
        for number in range(_TEACHERS if several else 1):
            place = folder / f"teacher {number}"
            asked = {**recipe, "seed": seed + 100 * number, "output": str(place)}
            # The unlabelled texts are for students.
            asked["data"] = {key: value for key, value in recipe["data"].items() if key != "unlabelled"}
            grid.workshop(asked)
            places.append(str(place / "teacher"))
        record: dict[str, Any] = {"ways": {}}
        for way in given.ways:
            teacher = {**WAYS[way]}
            if "epochs" in teacher:
                teacher["model"] = "minilm"
            else:
                teacher |= {"fine_tune": False}
                teacher |= {"models": places} if takes_all(teacher) else {"model": places[0]}
            asked = {**recipe, "teacher": teacher, "student": {**recipe["student"], **_STUDENT.get(way, {})}}
            workshop = grid.workshop({**asked, "output": str(folder / "run")})
            record["ways"][way] = {
                "told": right_of_told(workshop),
                "choices": [choice for choice in workshop.folder.choices() if choice["what"] != "strategy"],
                "students": {student: learned(workshop, SHAPES[student], seed, folder) for student in given.students},
            }
        return record


def takes_all(teacher: dict[str, Any]) -> bool:
    """Whether a way needs several models."""
    return "combine" in teacher and "epochs" not in teacher


def of_domain(domain: str, given: argparse.Namespace, folder: Path, terminal: Terminal, *, seed: int) -> dict[str, Any]:
    """A recipe of so many labelled and unlabelled sentences."""
    rows, unlabelled = given.rows, given.unlabelled
    rated = [row for row in vader.rows(domain, vader.fetch(terminal)) if row.rating != 0]
    rated.sort(key=lambda row: hashlib.sha256(row.text.encode()).digest())
    rest, test = rated[: -grid.TEST], rated[-grid.TEST :]
    data: dict[str, Any] = {
        "train": grid.written(rest[:rows], folder / "train.jsonl"),
        "test": grid.written(test, folder / "test.jsonl"),
        "max_tokens": 128,
        "validation_share": 0.15,
    }
    if unlabelled:
        more = folder / "more.txt"
        more.write_text("\n".join(row.text for row in rest[rows : rows + unlabelled]), encoding="utf-8")
        data["unlabelled"] = str(more)
    return {
        "task": "text-classification",
        "data": data,
        "teacher": {"model": "minilm", "epochs": 2},
        "student": {"balance": "given"},
        "output": str(folder / "run"),
        "seed": seed,
    }


def right_of_told(workshop: Workshop) -> str:
    """1 for each test row that what students are told would answer rightly."""
    test = workshop.corpus["test"]
    who = workshop.speaker.network
    tokens = who.tokenize(test.texts())
    said: Any = who.outputs(tokens)
    for voice in workshop.speaker.voices:
        said = voice.said(test.texts(), test.keys, tokens, said)
    return "".join("1" if ok else "0" for ok in said.argmax(1) == test.targets)


def learned(workshop: Workshop, shape: Shape, seed: int, folder: Path) -> dict[str, str]:
    """1 for each test row that a student answers rightly: its layers alone, and with a wide part of its own."""
    same = shape.width == int(workshop.teacher.model.config.hidden_size)
    settings = workshop.recipe.student.model_copy(update={} if same and shape.layers > 1 else {"hidden": 0.0})
    plan, validation = workshop.plan(settings, shape), workshop.corpus["validation"]
    told = workshop.signals(workshop.recording([plan]))
    network = workshop.beginning.student(shape)
    transfer = distil.transfer_set(network, workshop.splits, told)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        distil.distil(
            network,
            transfer,
            told,
            validation,
            settings,
            seed=seed,
            folder=Path(name),
            progress=Silent(),
            plan=plan,
        )
    wide, _ = widen.widen(
        network,
        transfer.tokens,
        transfer.targets,
        validation,
        said=lambda rows: told.outputs(transfer.signal_rows[rows], transfer.keys[rows]),
        among=transfer.once,
        wanted="auto",
        progress=Silent(),
    )
    return {name: bits(network, workshop) for name, network in (("layers", network), ("wide", wide))}


def bits(network: Network, workshop: Workshop) -> str:
    return "".join(map(str, grid.right(network, workshop.corpus["test"])))


def table(records: list[dict[str, Any]], given: argparse.Namespace) -> list[str]:
    """One line a case and way, and the gain over the teacher alone, mean and standard error over cases."""
    lines, gains = [], {}
    for record in records:
        first = record["ways"][given.ways[0]]
        for way in given.ways:
            mine = record["ways"][way]
            cells = [100 * accuracy(mine["told"])]
            for student in given.students:
                for part in ("layers", "wide"):
                    reached = 100 * accuracy(mine["students"][student][part])
                    before = 100 * accuracy(first["students"][student][part])
                    gains.setdefault((way, student, part), []).append(reached - before)
                    cells.append(reached)
            figures = " | ".join(f"{cell:.1f}" for cell in cells)
            lines.append(f"| {record['domain']} | {record['seed']} | {way} | {figures} |")
    heads = [f"{student}{', wide' if part == 'wide' else ''}" for student in given.students for part in ("", "wide")]
    return [
        f"Accuracy in % on {grid.TEST} test rows (one standard error: about 1 point). Teachers: MiniLM, fine-tuned on",
        f"{given.rows:,} rows for two epochs or five, with other seeds; students learn from these and",
        f"{given.unlabelled:,} unlabelled texts. *Told*: what students are told, on the test rows.",
        "",
        f"| data | seed | students hear | told | {' | '.join(heads)} |",
        f"|---|---|---|---|{'---|' * len(heads)}",
        *lines,
        "",
        "Gain over the teacher alone, mean and standard error over data and seeds, in points:",
        "",
        *(
            f"- {way}: {student}, {'with a wide part' if part == 'wide' else 'layers alone'}: {spread(values)}"
            for (way, student, part), values in gains.items()
            if way != given.ways[0]
        ),
    ]


def accuracy(ok: str) -> float:
    return ok.count("1") / len(ok)


def spread(values: list[float]) -> str:
    error = f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):+.2f}{error}"


if __name__ == "__main__":
    main()
