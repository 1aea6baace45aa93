"""What a convolution over the embeddings is worth to students of one and two layers, on the same rows.

python benchmarks/convolution.py [--domains movie amazon] [--seeds 0] [--layers 1] [--kernels 0 3 5] [--keep FILE]

The sentences of the other domains are unlabelled text. With `--keep`, what was measured is remembered in a file.
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


def measured(domain: str, seed: int, layers: int, kernels: list[int], terminal: Terminal) -> dict[str, dict[str, Any]]:
    """By kernel: the share that is kept, and the seconds of its graph on the test rows, in turns with the others."""
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = data_of(domain, folder, terminal)
        inner = {"feed_forward": 1536} if layers == 1 else {}
        graphs, tokens, network = {}, None, None
        for kernel in kernels:
            shape = {"size": None, "layers": layers, "convolution": kernel or "none", **inner}
            run = pipeline.run(
                {
                    "task": "text-classification",
                    "data": data,
                    "teacher": {"model": "minilm", "epochs": 2},
                    "student": {**shape, "control": False},
                    "compress": {"cascade": False},
                    "evaluate": {"speed_rows": 100},
                    "output": str(folder / "run"),
                    "seed": seed,
                },
                resume=True,
                progress=terminal,
            )
            retention, student = run.measurements.retention, run.measurements.models["student"]
            assert retention is not None
            network = run.student
            tokens = network.tokenize(Corpus.load(run.path / ".tutelage" / "corpus")["test"].texts())
            graphs[kernel] = folder / f"{kernel}.onnx"
            graphs[kernel].write_bytes((run.path / "bundle" / "model.onnx").read_bytes())
            interval = [100 * (value or 0.0) for value in (retention.value, retention.low, retention.high)]
            taught = run.measurements.times["student"] or 0.0
            found[str(kernel)] = {"kept": interval, "mb": (student.bytes or 0) / 1e6, "taught": taught, "seconds": []}
        assert tokens is not None
        assert network is not None
        batches = [network.collate(tokens, rows) for rows in by_length(tokens.lengths, tokens=1024)]
        feeds = [{"input_ids": one.input_ids.numpy(), "attention_mask": one.attention_mask.numpy()} for one in batches]
        # Loading a graph is not timed: it computes the table of a convolution.
        running = {kernel: session.start(str(file), threads=2) for kernel, file in graphs.items()}
        for _ in range(_ROUNDS):
            for kernel, graph in running.items():
                start = time.perf_counter()
                for feed in feeds:
                    graph.run(["logits"], feed)
                found[str(kernel)]["seconds"].append(time.perf_counter() - start)
    return found


def lines_of(records: dict[str, dict[str, Any]], kernels: list[int]) -> list[str]:
    """Rows of the table."""
    rows = []
    for record in records.values():
        first = record["found"][str(kernels[0])]
        for kernel in kernels:
            one = record["found"][str(kernel)]
            value, low, high = one["kept"]
            times = float(np.median(np.divide(one["seconds"], first["seconds"])))
            rows.append(
                f"| {record['domain']} | {record['seed']} | {record['layers']} | {kernel or 'none'} "
                f"| {value:.1f} [{low:.1f}, {high:.1f}] | {value - first['kept'][0]:+.1f} | {times:.2f} "
                f"| {one['taught'] / first['taught']:.2f} | {one['mb']:.2f} |"
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", nargs="+", default=["movie", "amazon"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--layers", type=int, nargs="+", default=[1])
    parser.add_argument("--kernels", type=int, nargs="+", default=[0, 3, 5])
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    terminal, kept = Terminal(), Kept(given.keep)
    wanted = [(d, s, n) for d in given.domains for s in given.seeds for n in given.layers]
    for domain, seed, layers in wanted:
        key = f"{domain} {seed} {layers}"
        if key not in kept:
            found = measured(domain, seed, layers, given.kernels, terminal)
            kept.add(key, {"domain": domain, "seed": seed, "layers": layers, "found": found})
    ledger.record(
        "A convolution over the embeddings",
        f"python benchmarks/convolution.py --domains {' '.join(given.domains)} --seeds "
        f"{' '.join(map(str, given.seeds))} --layers {' '.join(map(str, given.layers))} --kernels "
        f"{' '.join(map(str, given.kernels))}",
        [
            "Each domain's sentences, with those of the other domains as unlabelled text; teacher MiniLM, two epochs;",
            "one layer with the teacher's feed-forward block, or two as by default; with the wide part where that",
            "helps. Accuracy kept, in percent of the teacher's on the test rows, with a 95 % interval; 'points' next",
            "to the first kernel; 'graph' the time of the graph alone next to the first, in turns in one process,",
            "'training' likewise that of the student's training.",
            "",
            "| data | seed | layers | kernel | kept % | points | graph | training | MB |",
            "|---|---|---|---|---|---|---|---|---|",
            *lines_of({key: kept[key] for key in (f"{d} {s} {n}" for d, s, n in wanted)}, given.kernels),
        ],
    )


if __name__ == "__main__":
    main()
