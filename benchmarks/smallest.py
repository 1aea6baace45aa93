"""The smallest students on the same rows: what each keeps, and what it costs.

python benchmarks/smallest.py [--domains movie amazon] [--seeds 0] [--students alone one static two]
    [--labelled-only] [--keep FILE]

The sentences of the other domains are unlabelled text, unless `--labelled-only` is given. With `--keep`, what was
measured is remembered in a file.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import ledger
from keep import data_of
from kept import Kept
from tutelage import pipeline, session
from tutelage.artifacts.batch import by_length
from tutelage.artifacts.corpus import Corpus
from tutelage.console import Terminal

_ROUNDS = 5
# The rung `one` has a feed-forward block twice as wide as the layer.
_ONE: dict[str, Any] = {"size": None, "layers": 1, "feed_forward": 768}
STUDENTS: dict[str, dict[str, Any]] = {
    "alone": {**_ONE, "convolution": "none"},
    "one": _ONE,
    "one of 3": {**_ONE, "convolution": 3},
    "static": {"size": "static"},
    "two": {"size": "small"},
}


def measured(
    domain: str, seed: int, students: list[str], terminal: Terminal, *, unlabelled: bool
) -> dict[str, dict[str, Any]]:
    """By student: the share that is kept, and the seconds of its graph on the test rows, in turns with the others."""
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = data_of(domain, folder, terminal, unlabelled=unlabelled)
        graphs, tokens, network = {}, None, None
        for kind in students:
            run = pipeline.run(
                {
                    "task": "text-classification",
                    "data": data,
                    "teacher": {"model": "minilm", "epochs": 2},
                    "student": {**STUDENTS[kind], "control": False},
                    "compress": {"cascade": False},
                    "evaluate": {"speed_rows": 512},
                    "output": str(folder / "run"),
                    "seed": seed,
                },
                resume=True,
                progress=terminal,
            )
            retention, student = run.measurements.retention, run.measurements.models["student"]
            teacher, speedup = run.measurements.models["teacher"], run.measurements.speedup
            assert retention is not None
            assert speedup is not None
            network = run.student
            tokens = network.tokenize(Corpus.load(run.path / ".tutelage" / "corpus")["test"].texts())
            graphs[kind] = folder / f"{kind}.onnx"
            graphs[kind].write_bytes((run.path / "bundle" / "model.onnx").read_bytes())
            interval = [100 * (value or 0.0) for value in (retention.value, retention.low, retention.high)]
            taught = run.measurements.times["student"] or 0.0
            rates = [model.rows_per_second["onnxruntime"] or 0.0 for model in (student, teacher)]
            found[kind] = {
                "kept": interval,
                "pytorch": speedup.value,
                "onnx": rates[0] / rates[1],
                "mb": (student.bytes or 0) / 1e6,
                "taught": taught,
                "seconds": [],
            }
        assert tokens is not None
        assert network is not None
        batches = [network.collate(tokens, rows) for rows in by_length(tokens.lengths, tokens=1024)]
        feeds = [{"input_ids": one.input_ids.numpy(), "attention_mask": one.attention_mask.numpy()} for one in batches]
        # Loading a graph is not timed: it computes the table of a convolution.
        running = {kind: session.start(str(file), threads=2) for kind, file in graphs.items()}
        for _ in range(_ROUNDS):
            for kind, graph in running.items():
                start = time.perf_counter()
                for feed in feeds:
                    graph.run(["logits"], feed)
                found[kind]["seconds"].append(time.perf_counter() - start)
    return found


def lines_of(records: list[dict[str, Any]], students: list[str]) -> list[str]:
    """Rows of the table."""
    rows = []
    for record in records:
        first = record["found"][students[0]]
        for kind in students:
            one = record["found"][kind]
            value, low, high = one["kept"]
            times = float(np.median(np.divide(one["seconds"], first["seconds"])))
            rows.append(
                f"| {record['domain']} | {record['seed']} | {kind} | {value:.1f} [{low:.1f}, {high:.1f}] "
                f"| {value - first['kept'][0]:+.1f} | {one['pytorch']:.1f} | {one['onnx']:.1f} | {times:.2f} "
                f"| {one['taught'] / first['taught']:.2f} | {one['mb']:.2f} |"
            )
    return rows


def means(records: list[dict[str, Any]], students: list[str]) -> list[str]:
    """What each student keeps, next to the first, over data and seeds."""
    rows = []
    for kind in students:
        kept = np.array([record["found"][kind]["kept"][0] for record in records])
        apart = kept - [record["found"][students[0]]["kept"][0] for record in records]
        fast = np.mean([record["found"][kind]["pytorch"] for record in records])
        error = f" ± {apart.std(ddof=1) / len(apart) ** 0.5:.1f}" if len(apart) > 1 else ""
        rows.append(f"- {kind}: {kept.mean():.1f} %, {apart.mean():+.1f}{error} points, {fast:.1f} x")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="+", default=["movie", "amazon"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--students", nargs="+", choices=STUDENTS, default=["alone", "one", "static", "two"])
    parser.add_argument("--labelled-only", action="store_true")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    terminal, kept, records = Terminal(), Kept(given.keep), []
    for domain in given.domains:
        for seed in given.seeds:
            key = f"{domain} {seed} {' '.join(given.students)}{' labelled' if given.labelled_only else ''}"
            if key not in kept:
                found = measured(domain, seed, given.students, terminal, unlabelled=not given.labelled_only)
                kept.add(key, {"domain": domain, "seed": seed, "found": found})
            records.append(kept[key])
            print(*lines_of(records[-1:], given.students), sep="\n", flush=True)
    ledger.record(
        f"The smallest students{', labelled texts alone' if given.labelled_only else ''}",
        f"python benchmarks/smallest.py --domains {' '.join(given.domains)} --seeds "
        f"{' '.join(map(str, given.seeds))} --students {' '.join(given.students)}"
        f"{' --labelled-only' if given.labelled_only else ''}",
        [
            f"Each domain's sentences, with {'nothing' if given.labelled_only else 'those of the other domains'} as",
            "unlabelled text; teacher MiniLM, two epochs.",
            "`alone` is one layer without a convolution, `one` with (`one of 3`: of three tokens), `static` one layer",
            "over one vector of a text, `two` the default student; with the wide part where that helps, without a",
            "cascade. Accuracy kept, in percent of the teacher's on the test rows, with a 95 % interval; 'points' next",
            "to the first student; speed of the bundle next to the teacher in PyTorch and ONNX Runtime; 'graph' the",
            "time of the graph alone next to the first, in turns in one process, 'training' likewise that of the",
            "student's training.",
            "",
            "| data | seed | student | kept % | points | x PyTorch | x ONNX | graph | training | MB |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *lines_of(records, given.students),
            "",
            "Means, and the standard error of the points over data and seeds:",
            "",
            *means(records, given.students),
        ],
    )


if __name__ == "__main__":
    main()
