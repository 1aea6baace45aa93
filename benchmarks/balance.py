"""Figure 2 of "keep 97 %": is the way to learn that a linear model picks as good as the best of a full grid?

A seed draws other rows to train on, and makes another teacher of them. For each (data, student, seed) every way of the
grid trains a student to the end, which is judged without a wide part, and with one where validation says that it helps.
`--keep FILE` remembers what was trained, so that it can be done piecewise.

python benchmarks/balance.py [--seeds 0] [--rows 2000] [--keep FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import ledger
from kept import Kept
from tutelage import pipeline
from tutelage import recipe as recipes
from tutelage.artifacts.network import Network
from tutelage.console import Terminal
from tutelage.data import vader
from tutelage.folder import RunFolder
from tutelage.progress import Logged, Silent
from tutelage.student import balance, distil, widen
from tutelage.student.balance import ALONE, HALF, LABELS, SOFT, WARM, Way
from tutelage.student.build import Shape
from tutelage.tasks import TextClassification
from tutelage.workshop import Workshop

SHAPES = {"one": Shape(1, 384, 12, 1536), "two": Shape(2, 384, 12, 384)}
TEST = 1200
TASK = TextClassification(("negative", "positive"))
# A teacher made from few rows, once: what if it knows little?
WEAK = {"movie": 200, "amazon": 200}
MORE = (Way("loss dist", {"loss": "dist"}),)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="+", default=list(vader.DOMAINS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    terminal, found = Terminal(), Kept(given.keep)
    cases = [(domain, student, 0) for domain in given.domains for student in SHAPES]
    cases += [(domain, "one", rows) for domain, rows in WEAK.items() if domain in given.domains]
    for seed in given.seeds:
        for domain, student, weak in cases:
            key = f"{domain} {student} {weak} {seed} {given.rows}"
            if key not in found:
                terminal.say(key)
                found.add(key, one(domain, student, weak, seed=seed, rows=given.rows, terminal=terminal))
    wanted = [
        found[f"{domain} {student} {weak} {seed} {given.rows}"]
        for seed in given.seeds
        for domain, student, weak in cases
    ]
    ledger.record("9. Choosing how to learn", command(given), table(wanted, given.rows))


def command(given: argparse.Namespace) -> str:
    domains = "" if given.domains == list(vader.DOMAINS) else f" --domains {' '.join(given.domains)}"
    return f"python benchmarks/balance.py{domains} --seeds {' '.join(map(str, given.seeds))} --rows {given.rows}"


def one(domain: str, student: str, weak: int, *, seed: int, rows: int, terminal: Terminal) -> dict[str, Any]:
    """Every way for one student: what a linear model makes of it, and which test rows the student gets right."""
    with tempfile.TemporaryDirectory() as name:
        workshop = prepared(domain, weak, rows, Path(name), terminal, seed=seed)
        shape, corpus = SHAPES[student], workshop.corpus
        settings = workshop.recipe.student.model_copy(update={"hidden": 0.0} if student == "one" else {})
        plan = workshop.plan(settings, shape)
        told = workshop.signals(workshop.recording([plan]))
        transfer = distil.transfer_set(workshop.beginning.student(shape), workshop.splits, told)
        pupil = workshop.beginning.student(shape)
        began = time.monotonic()
        screened = balance.screen(pupil, transfer, told, corpus["validation"], settings, progress=Silent())
        choosing = time.monotonic() - began
        record: dict[str, Any] = {
            "domain": domain,
            "student": student,
            "seed": seed,
            "teacher_rows": weak,
            "teacher": float(np.mean(right(workshop.teacher, corpus["test"]))),
            "screen_s": choosing,
            "ways": {},
        }
        for way in (*(way for group in balance.ways(corpus.task) for way in group), *MORE):
            began = time.monotonic()
            network = workshop.beginning.student(shape)
            distil.distil(
                network,
                transfer,
                told,
                corpus["validation"],
                settings.model_copy(update=dict(way.settings)),
                seed=seed,
                folder=Path(name) / "training" / way.name,
                progress=Silent(),
                plan=plan,
            )
            training = time.monotonic() - began
            wider, _ = widen.widen(
                network,
                transfer.tokens,
                transfer.targets,
                corpus["validation"],
                said=lambda rows: told.outputs(transfer.signal_rows[rows], transfer.keys[rows]),
                among=transfer.once,
                wanted="auto",
                progress=Silent(),
            )
            record["ways"][way.name] = {
                "screen": screened[way.name].tolist() if way.name in screened else None,
                "ok": "".join(map(str, right(network, corpus["test"]))),
                "wide_ok": "".join(map(str, right(wider, corpus["test"]))),
                "full_s": training,
            }
            shutil.rmtree(Path(name) / "training")
        return record


def asked(
    domain: str, rows: int, folder: Path, terminal: Terminal, *, seed: int = 0
) -> tuple[dict[str, Any], list[vader.Rating]]:
    """A recipe for some rows of a domain, which are written to `folder`, and the rows to train on.

    Every seed has other rows to train on, as far as there are others, and the same for test.
    """
    rated = [row for row in vader.rows(domain, vader.fetch(terminal)) if row.rating != 0]
    rated.sort(key=lambda row: drawn(row.text))
    train = sorted(rated[:-TEST], key=lambda row: drawn(row.text, seed))[:rows]
    recipe: dict[str, Any] = {
        "task": "text-classification",
        "data": {
            "train": written(train, folder / "train.jsonl"),
            "test": written(rated[-TEST:], folder / "test.jsonl"),
            "max_tokens": 128,
            "validation_share": 0.15,
        },
        "teacher": {"model": "minilm", "epochs": 1},
        "student": {"wide": False, "balance": "given"},
        "output": str(folder / "run"),
        "seed": seed,
    }
    return recipe, train


def drawn(text: str, seed: int = 0) -> bytes:
    """By what texts are sorted to draw some of them."""
    return hashlib.sha256(f"{seed or ''}{text}".encode()).digest()


def prepared(domain: str, weak: int, rows: int, folder: Path, terminal: Terminal, *, seed: int) -> Workshop:
    """Teacher, data and recorder for a domain; a weak teacher has seen a tenth of the rows."""
    recipe, train = asked(domain, rows, folder, terminal, seed=seed)
    if weak:
        few = {**recipe["data"], "train": written(train[:weak], folder / "few.jsonl")}
        workshop({**recipe, "data": few, "output": str(folder / "weak")})
        recipe["teacher"] = {"model": str(folder / "weak" / "teacher"), "fine_tune": False}
    return workshop(recipe)


def workshop(source: dict[str, Any]) -> Workshop:
    recipe = recipes.load(source)
    folder = RunFolder.claim(recipe, resume=True)
    story = pipeline._Story(recipe, folder, Logged(Silent(), folder.path / "log.jsonl"))
    return story._workshop(story._data())


def written(rows: list[vader.Rating], file: Path) -> str:
    lines = ({"text": row.text, "label": "positive" if row.rating > 0 else "negative"} for row in rows)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(file)


def right(network: Network, split: Any) -> list[int]:
    """1 for each row that a network answers rightly."""
    said = network.outputs(network.tokenize(split.texts()))
    return [int(value) for value in said.argmax(1) == split.targets]


def table(records: list[dict[str, Any]], rows: int) -> list[str]:
    """One line a case, and the regret on average."""
    lines: list[str] = []
    times: dict[tuple[str, bool], list[float]] = {}
    for record in records:
        ways, taken = answers(record, "ok"), chosen(record)
        share = record["screen_s"] / record["ways"][taken]["full_s"]
        times.setdefault((record["student"], helped(record, rows)), []).append(share)
        scores = {name: 100 * float(ok.mean()) for name, ok in ways.items()}
        best = max(scores, key=lambda name: scores[name])
        lines.append(
            f"| {record['domain']} | {record['student']} | {record['seed']} | {100 * record['teacher']:.1f} | "
            f"{scores[ALONE.name]:.1f} | {scores[LABELS.name]:.1f} | {taken} | {scores[taken]:.1f} | "
            f"{best}, {scores[best]:.1f} | {regret(ways, taken):+.1f} | {share:.0%} |"
        )
    return [
        f"Accuracy in % on {TEST} test rows (one standard error: about 1 point) of students without a wide part. The",
        "best cell of eight is always lucky, so regret is counted crosswise: the best on one half of the test rows,",
        "judged on the other half. The last two cases of a seed have teachers that saw 200 rows. 'Time' is that of",
        "choosing, next to one training.",
        "",
        "| data | student | seed | teacher | teacher alone | labels alone | taken | it | best of the grid | "
        "regret | time |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *lines,
        "",
        f"In points, mean ± standard error over {len(records)} cases, without a wide part and with one where it helps:",
        "",
        "| | without | with |",
        "|---|---|---|",
        *(f"| {title} | {without} | {wide} |" for title, without, wide in zip(*summaries(records), strict=True)),
        "",
        *labels_taken(records),
        "",
        "What choosing takes, next to a training; with less than 300 validation rows, others that were held out judge",
        "too:",
        "",
        *(
            f"- {student}, {'held-out rows too' if more else 'validation alone'}, {len(shares)} cases: "
            f"{np.mean(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"
            for (student, more), shares in sorted(times.items())
        ),
    ]


def helped(record: dict[str, Any], rows: int) -> bool:
    """Whether more rows judged the ways than those of validation, which are 15 %."""
    return len(judged(record)[HALF.name]) > 0.2 * rows


def labels_taken(records: list[dict[str, Any]]) -> list[str]:
    """What it brought to take the labels alone where that was chosen, against half and half."""
    some = [record for record in records if chosen(record) == LABELS.name]
    if len(some) < 2:
        return []
    more = []
    for kind in ("ok", "wide_ok"):
        ways = [answers(record, kind) for record in some]
        more.append(mean([100 * float(one[LABELS.name].mean() - one[HALF.name].mean()) for one in ways]))
    weak = sum(record["teacher_rows"] > 0 for record in some)
    return [
        f"The labels alone were taken in {len(some)} cases, {weak} of them beside a teacher of 200 rows: {more[0]}",
        f"points against {HALF.name}, {more[1]} with a wide part.",
    ]


def summaries(records: list[dict[str, Any]]) -> list[list[str]]:
    """What is told, and its figures without and with a wide part."""
    columns = []
    for kind in ("ok", "wide_ok"):
        regrets = {
            title: [] for title in ("taken", ALONE.name, LABELS.name, HALF.name, WARM.name, "strict", "otherwise")
        }
        gains = []
        for record in records:
            ways, taken = answers(record, kind), chosen(record)
            by_rule = {
                "taken": taken,
                "strict": by(judged(record), HALF.name, errors=3.0),
                "otherwise": by(judged(record), ALONE.name),
            }
            for title, found in regrets.items():
                found.append(regret(ways, by_rule.get(title, title)))
            gains.append(100 * (ways[taken].mean() - ways[LABELS.name].mean()))
        behind = [now - then for now, then in zip(regrets["taken"], regrets["otherwise"], strict=True)]
        columns.append([mean(found) for found in (*regrets.values(), behind, gains)])
    titles = ["regret of what was taken", *(f"of always {way.name}" for way in (ALONE, LABELS, HALF, WARM))]
    titles += [
        "were three standard errors asked for",
        f"were {ALONE.name} the default",
        "what was taken is behind that",
        "gain over the labels alone",
    ]
    return [titles, *columns]


def answers(record: dict[str, Any], kind: str) -> dict[str, np.ndarray]:
    """For each way which test rows its student gets right (N,)."""
    return {name: np.array([int(one) for one in way[kind]]) for name, way in record["ways"].items()}


def judged(record: dict[str, Any]) -> dict[str, np.ndarray]:
    """For each way what a linear model made of it."""
    return {name: np.array(way["screen"]) for name, way in record["ways"].items() if way["screen"]}


def chosen(record: dict[str, Any]) -> str:
    """The way that is taken."""
    return balance.decide(TASK, judged(record))[0].name


def by(screened: dict[str, np.ndarray], first: str, *, errors: float = 2.0) -> str:
    """What would be taken, were another way the default, or more standard errors asked for."""
    taken = first
    others = [name for name in screened if name not in (first, LABELS.name, SOFT.name)]
    for group in (others, [LABELS.name], [SOFT.name]):
        best = min(group, key=lambda name: float(screened[name].mean()))
        gain, error = balance.better(screened[best], screened[taken])
        if gain > errors * error:
            taken = best
    return taken


def regret(ways: dict[str, np.ndarray], taken: str) -> float:
    """Points of accuracy that the best of the grid has over what was taken, chosen and judged on different rows."""
    halves = [np.arange(len(ways[taken])) % 2 == side for side in (0, 1)]
    found = []
    for choosing, judging in (halves, halves[::-1]):
        best = max(ways, key=lambda name: float(ways[name][choosing].mean()))
        found.append(ways[best][judging].mean() - ways[taken][judging].mean())
    return 100 * float(np.mean(found))


def mean(values: list[float]) -> str:
    return f"{np.mean(values):+.2f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.2f}"


if __name__ == "__main__":
    main()
