"""Claim 4: text regression on the mean ratings of movie sentences.

python benchmarks/regression.py [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from platformdirs import user_cache_dir

import ledger
from demo import shown
from tutelage import pipeline
from tutelage.console import Terminal
from tutelage.data import vader


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    terminal = Terminal()
    files = vader.write_regression(Path(user_cache_dir("tutelage")) / "regression", terminal)
    rows, kept, faster = [], [], []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            run = pipeline.run(
                {
                    "task": "text-regression",
                    "data": {
                        "train": str(files["train"]),
                        "test": str(files["test"]),
                        "label": "rating",
                        "max_tokens": 128,
                    },
                    "teacher": {"model": "minilm", "epochs": 1},
                    "student": {"control": False},
                    "output": str(Path(name) / "run"),
                    "seed": seed,
                },
                progress=terminal,
            )
        m = run.measurements
        assert m.retention is not None
        assert m.speedup is not None
        kept.append(m.retention.value or 0.0)
        faster.append(m.speedup.value or 0.0)
        teacher, student = m.models["teacher"], m.models["student"]
        rows.append(
            f"| {seed} | {shown(teacher.scores['pearson'])} | {shown(student.scores['pearson'])} | "
            f"{shown(m.retention)} | {m.speedup.value:.2f} | "
            f"{(student.bytes or 0) / 1e6:.2f} |"
        )
    ledger.record(
        "4. Text regression",
        f"python benchmarks/regression.py --seeds {' '.join(map(str, seeds))}",
        [
            "VADER movie sentences, mean human rating in -4..4. Pearson's r times 100. "
            "Bars: kept >= 95 %, >= 5 x the teacher's throughput in PyTorch.",
            "",
            "| seed | teacher | student | kept % | x PyTorch | bundle MB |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"Kept: {ledger.spread(kept)}; faster: {ledger.spread(faster)}.",
        ],
    )


if __name__ == "__main__":
    main()
