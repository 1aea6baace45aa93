"""Figure 3 of "keep 97 %": does a linear model know which of several teachers a student will learn most from?

Seven teachers of one domain: fine-tuned on few rows or all, for one epoch or too many, the head alone, on labels of
which some are wrong, and on another domain. Each teaches three students. Beside what `teacher.models` goes by stands
what else could tell: the teacher's own loss and score, short trials of each student (`pilots`), and how far apart the
gradients are of each student that has not learned yet (docs/decisions/0018). `--keep FILE` remembers what was measured.

python benchmarks/teachers.py [--domains amazon movie] [--seeds 0] [--rows 1500] [--kinds 7] [--keep FILE]
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from scipy.stats import spearmanr

import balance as grid
import ledger
from kept import Kept
from tutelage import candidates, pilots
from tutelage.candidates import Candidate
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.pilots import Trials
from tutelage.progress import Silent
from tutelage.recipe import StudentRecipe
from tutelage.recipe_teacher import ChooseBy
from tutelage.student import distil, gradients
from tutelage.student.build import Shape
from tutelage.student.gradients import Spread
from tutelage.workshop import Workshop

SHAPES = {"narrow": Shape(2, 128, 4, 512), "one": Shape(1, 384, 12, 1536), "two": Shape(2, 384, 12, 384)}
MEASURES = {
    "taught": "loss of a linear model that it taught",
    "own": "its own loss, calibrated",
    "score": "its accuracy",
    "pilot": "trials of the student: its loss after the last that its teacher was given",
    "first": "trials of the student: its loss after the first, which all were given",
    "grace": "gradients of the student: GRACE",
    "variance": "gradients of the student: the variance in it",
    "norm": "gradients of the student: their norm alone",
}
GRADIENTS = ("grace", "variance", "norm")
OF_STUDENTS = (*GRADIENTS, "pilot", "first")


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
    parser.add_argument("--kinds", type=int, default=len(KINDS), help="the first so many of the seven, 2 at least")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    terminal, found, kinds = Terminal(), Kept(given.keep), KINDS[: given.kinds]
    for seed in given.seeds:
        for domain in given.domains:
            for kind in kinds:
                key = f"{domain} {kind.name} {seed} {given.rows} of {len(kinds)}"
                if key in found:
                    continue
                terminal.say(key)
                with made(domain, kind, seed, given.rows, terminal) as workshop:
                    record = {"students": reached(workshop), "gradients": spreads(workshop)}
                    found.add(key, {**known(workshop, kind), **record, "pilots": tried(workshop, len(kinds))})
    cells = {
        (domain, seed): [found[f"{domain} {kind.name} {seed} {given.rows} of {len(kinds)}"] for kind in kinds]
        for seed in given.seeds
        for domain in given.domains
    }
    some = given.kinds < len(KINDS)
    ledger.record(
        f"Choosing one of {given.kinds} teachers" if some else "Choosing a teacher",
        f"python benchmarks/teachers.py --domains {' '.join(given.domains)} "
        f"--seeds {' '.join(map(str, given.seeds))} --rows {given.rows}" + (f" --kinds {given.kinds}" if some else ""),
        table(cells, given.rows, kinds),
    )


@contextmanager
def made(domain: str, kind: Kind, seed: int, rows: int, terminal: Terminal) -> Iterator[Workshop]:
    """Everything that students of one teacher are made from."""
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
        teacher = {
            **recipe,
            "data": {**recipe["data"], "train": seen},
            "teacher": {"model": "minilm", **kind.settings},
            "output": str(folder / "made"),
        }
        grid.workshop(teacher)
        recipe["teacher"] = {"model": str(folder / "made" / "teacher"), "fine_tune": False}
        yield grid.workshop(recipe)


def known(workshop: Workshop, kind: Kind) -> dict[str, Any]:
    """What is known of a teacher before any student, and its accuracy."""
    judged = candidates.judged(kind.name, workshop.teacher, workshop.recipe, workshop.folder, workshop.corpus)
    assert judged.taught is not None
    return {
        "taught": float(judged.taught.mean()),
        "own": float(judged.loss.mean()),
        "score": judged.score,
        "rows": {"taught": judged.taught.tolist(), "loss": judged.loss.tolist()},
        "test": float(np.mean(grid.right(workshop.teacher, workshop.corpus["test"]))),
    }


def spreads(workshop: Workshop) -> dict[str, Any]:
    """How far apart the gradients of each student are before it learns, and how long it took to find out."""
    found: dict[str, Any] = {}
    for student, shape in SHAPES.items():
        began = time.monotonic()
        spread = gradients.measure(
            workshop.beginning.student(shape), workshop.teacher, workshop.splits, seed=workshop.recipe.seed
        )
        found[student] = {**vars(spread), "seconds": time.monotonic() - began}
    return found


def tried(workshop: Workshop, teachers: int) -> dict[str, Any]:
    """The validation losses of each student after as many texts as any round of trials has, and the seconds of all."""
    found: dict[str, Any] = {}
    for student, shape in SHAPES.items():
        began = time.monotonic()
        plain = {"layers": shape.layers, "width": shape.width, "heads": shape.heads, "feed_forward": shape.feed_forward}
        asked = StudentRecipe(**plain, size=None, convolution="none", wide=False, hidden=hidden(student))
        recipe = workshop.recipe.model_copy(update={"student": asked})
        trials = Trials(recipe, workshop.folder, workshop.corpus)
        losses = {
            str(read): trials.loss(0, workshop.teacher, read).tolist()
            for _, read in pilots.rounds(teachers, trials.texts)
        }
        found[student] = {"losses": losses, "texts": trials.texts, "seconds": time.monotonic() - began}
    return found


def trials_of(records: Sequence[dict[str, Any]], student: str) -> list[pilots.Pilot]:
    """The trials that several teachers would have been given, from losses that all of them have."""

    def trial(number: int, read: int) -> np.ndarray:
        return np.array(records[number]["pilots"][student]["losses"][str(read)])

    return pilots.halve(len(records), records[0]["pilots"][student]["texts"], trial)


def hidden(student: str) -> float:
    """How much of a student's loss is that of its layers."""
    return StudentRecipe().hidden if student == "two" else 0.0


def reached(workshop: Workshop) -> dict[str, float]:
    """The accuracy of every student of a teacher."""
    found = {}
    for student, shape in SHAPES.items():
        settings = workshop.recipe.student.model_copy(update={"hidden": hidden(student)})
        plan = workshop.plan(settings, shape)
        told = workshop.signals(workshop.recording([plan]))
        network = workshop.beginning.student(shape)
        distil.distil(
            network,
            distil.transfer_set(network, workshop.splits, told),
            told,
            workshop.corpus["validation"],
            settings,
            seed=workshop.recipe.seed,
            folder=workshop.folder.training / student,
            progress=Silent(),
            plan=plan,
        )
        found[student] = float(np.mean(grid.right(network, workshop.corpus["test"])))
    return found


def of_student(records: list[dict[str, Any]], student: str) -> list[dict[str, float]]:
    """What looked at a student tells of each teacher, the less the better."""
    found = []
    for record, trial in zip(records, trials_of(records, student), strict=True):
        first = next(iter(record["pilots"][student]["losses"].values()))
        # Who was left out earlier comes behind all that went on.
        last = float(trial.loss.mean()) - 1000.0 * trial.texts
        found.append({**record["gradients"][student], "pilot": last, "first": float(np.mean(first))})
    return found


def regret(records: list[dict[str, Any]], student: str, by: ChooseBy) -> float:
    """Points of accuracy that choosing among teachers in some way costs a student."""
    several = [
        Candidate(
            str(number),
            np.array(record["rows"]["loss"]),
            record["score"],
            np.array(record["rows"]["taught"]),
            Spread(*(record["gradients"][student][figure] for figure in GRADIENTS)),
            trial,
        )
        for number, (record, trial) in enumerate(zip(records, trials_of(records, student), strict=True))
    ]
    taken, _ = candidates.choose(several, grid.TASK.headline, by)
    reached = [record["students"][student] for record in records]
    return 100 * (max(reached) - reached[taken])


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


def table(cells: dict[tuple[str, int], list[dict[str, Any]]], rows: int, kinds: Sequence[Kind]) -> list[str]:
    """What each teacher is and teaches, and how well each measure ranks them."""
    lines, correlations = [], {measure: [] for measure in MEASURES}
    seconds: dict[str, list[float]] = {"gradients": [], "pilots": []}
    trials: dict[tuple[str, str], list[float]] = {}
    regrets: dict[ChooseBy, list[float]] = {by: [] for by in get_args(ChooseBy)}
    for (domain, seed), records in cells.items():
        for kind, record in zip(kinds, records, strict=True):
            students = " | ".join(f"{100 * record['students'][student]:.1f}" for student in SHAPES)
            graces = " | ".join(f"{record['gradients'][student]['grace']:.3g}" for student in SHAPES)
            lines.append(
                f"| {domain} | {seed} | {kind.name} | {100 * record['test']:.1f} | {record['taught']:.4f} | "
                f"{record['own']:.4f} | {100 * record['score']:.1f} | {graces} | {students} |"
            )
            for figure, values in seconds.items():
                values += [record[figure][student]["seconds"] for student in SHAPES]
        for measure, values in correlations.items():
            sign = 1 if measure == "score" else -1
            for student in SHAPES:
                known = of_student(records, student) if measure in OF_STUDENTS else records
                told = [sign * one[measure] for one in known]
                found = spearmanr(told, [record["students"][student] for record in records]).statistic
                values.append(found)
                if measure == "pilot":
                    trials.setdefault((domain, student), []).append(found)
        for by, points in regrets.items():
            points += [regret(records, student, by) for student in SHAPES]
    return [
        f"{len(kinds)} teachers (MiniLM) of {rows:,} rows, three students each without a wide part, accuracy in % on",
        f"{grid.TEST} test rows (one standard error: about 1 point). *Taught* is what `teacher.models` goes by: the",
        "validation loss of a linear model that learned from the teacher alone. *GRACE* is that of the gradients of",
        "each student before it learned, the less the better. Bar: rank correlation with what the students reach",
        ">= 0.7.",
        "",
        "| data | seed | teacher | test % | taught | own loss | validation % | "
        f"{' | '.join(f'GRACE {student}' for student in SHAPES)} | {' | '.join(SHAPES)} |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *lines,
        "",
        "Spearman's rank correlation with what the students reach, mean and range over data, seeds and students:",
        "",
        *(
            f"- {MEASURES[measure]}: {np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
            for measure, values in correlations.items()
        ),
        "",
        "Of the trials, by data and student (mean over seeds): "
        + "; ".join(
            f"{domain} " + ", ".join(f"{student} {np.mean(trials[domain, student]):.2f}" for student in SHAPES)
            for domain in dict.fromkeys(domain for domain, _ in cells)
        )
        + ".",
        "",
        "Points of accuracy that the student of the best teacher has over that of the teacher that would be taken,",
        "mean and most over data, seeds and students, by what `choose_by` says (`gradients`: the least GRACE among",
        "those whose own loss is not surely higher than the least; `pilots`: the least loss of the last round):",
        "",
        *(f"- {by}: {np.mean(points):.1f} (at most {max(points):.1f})" for by, points in regrets.items()),
        "",
        *(
            f"{title} of a student took {np.mean(values):.1f} s a teacher ({min(values):.1f} to {max(values):.1f})."
            for title, values in (("Gradients", seconds["gradients"]), ("Trials of every round", seconds["pilots"]))
        ),
    ]


if __name__ == "__main__":
    main()
