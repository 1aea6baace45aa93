"""Claims 1 and 2: what the demo keeps, how small and fast its student is, and how long it all takes.

With `--alphas`, what it would keep if its student followed the teacher, and labels, in these parts (the same teacher).

python benchmarks/demo.py [--seeds 0 1 2] [--alphas 1 0.5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import ledger
from tutelage import demo, pipeline
from tutelage.artifacts.measurements import Interval, Measurements
from tutelage.console import Terminal

_HELP = """
import sys
from tutelage.cli import main
sys.argv = ["tutelage", "--help"]
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


def one(seed: int) -> tuple[Measurements, float, float]:
    """The demo with a seed, in a new folder: its measurements, its seconds, seconds to a bundle's first answer."""
    with tempfile.TemporaryDirectory() as name:
        terminal = Terminal()
        recipe = demo.recipe(Path(name) / "demo", terminal)
        start = time.perf_counter()
        run = pipeline.run(recipe.model_copy(update={"seed": seed}), progress=terminal)
        seconds = time.perf_counter() - start
        first = _first_answer(run.path / "bundle")
        return run.measurements, seconds, first


def by_alpha(seeds: list[int], alphas: list[float]) -> None:
    """Students of one teacher a seed, which differ in `alpha` alone."""
    lines: list[str] = []
    scores: dict[float, list[float]] = {alpha: [] for alpha in alphas}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            terminal = Terminal()
            recipe = demo.recipe(Path(name) / "demo", terminal).model_copy(update={"seed": seed})
            for alpha in alphas:
                student = recipe.student.model_copy(update={"alpha": alpha, "balance": "given"})
                asked = recipe.model_copy(update={"student": student})
                m = pipeline.run(asked, resume=True, progress=terminal).measurements
                score = m.models["student"].scores["accuracy"]
                scores[alpha].append(100 * (score.value or 0.0))
                lines.append(
                    f"| {seed} | {alpha:g} | {shown(m.models['teacher'].scores['accuracy'])} | {shown(score)} | "
                    f"{shown(m.retention)} | {shown(m.against_control)} |"
                )
    told = []
    for alpha in alphas[1:]:
        more = [one - base for one, base in zip(scores[alpha], scores[alphas[0]], strict=True)]
        error = np.std(more, ddof=1) / np.sqrt(len(more)) if len(more) > 1 else float("nan")
        told.append(
            f"{alpha:g} against {alphas[0]:g}: {np.mean(more):+.2f} ± {error:.2f} points (mean, standard error)."
        )
    ledger.record(
        "The demo by alpha",
        f"python benchmarks/demo.py --seeds {' '.join(map(str, seeds))} --alphas {' '.join(f'{a:g}' for a in alphas)}",
        [
            "Students of one teacher a seed, with their wide part and cascade as in the demo. 1: the teacher alone;",
            "0.5: half teacher, half labels, temperature 1. Intervals: 95 %, bootstrap over the 2,568 test rows.",
            "",
            "| seed | alpha | teacher % | student % | kept % | over control, points |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            *told,
        ],
    )


def _first_answer(bundle: Path) -> float:
    script = "import sys, tutelage; tutelage.load(sys.argv[1]).predict(['a fine film'])"
    return min(_timed([sys.executable, "-c", script, str(bundle)]) for _ in range(5))


def _timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def _help() -> tuple[float, bool]:
    ended = subprocess.run([sys.executable, "-c", _HELP], check=True, capture_output=True, text=True)
    return min(_timed([sys.executable, "-m", "tutelage", "--help"]) for _ in range(5)), "True" in ended.stderr


def shown(interval: Interval | None, factor: float = 100.0) -> str:
    """An interval in percent or points."""
    if interval is None or interval.value is None or interval.low is None or interval.high is None:
        return "-"
    return f"{factor * interval.value:.1f} [{factor * interval.low:.1f}, {factor * interval.high:.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--alphas", type=float, nargs="+", default=[])
    given = parser.parse_args()
    seeds = given.seeds
    if given.alphas:
        by_alpha(seeds, given.alphas)
        return
    rows, kept, faster, times = [], [], [], []
    for seed in seeds:
        m, seconds, first = one(seed)
        student, teacher = m.models["student"], m.models["teacher"]
        assert m.retention is not None
        assert m.speedup is not None
        kept.append(m.retention.value or 0.0)
        faster.append(m.speedup.value or 0.0)
        times.append(seconds)
        onnx = (student.rows_per_second["onnxruntime"] or 0) / (teacher.rows_per_second["onnxruntime"] or 1)
        rows.append(
            f"| {seed} | {shown(teacher.scores['accuracy'])} | {shown(student.scores['accuracy'])} | "
            f"{shown(m.retention)} | {shown(m.against_control)} | {(student.bytes or 0) / 1e6:.2f} | "
            f"{m.speedup.value:.2f} | {onnx:.2f} | {seconds:.0f} | {first:.2f} |"
        )
    seconds, torch = _help()
    ledger.record(
        "1 and 2. The demo",
        f"python benchmarks/demo.py --seeds {' '.join(map(str, seeds))}",
        [
            "Intervals: 95 %, bootstrap over the 2,568 test rows. Bars: kept >= 96 %, bundle <= 12 MB, throughput",
            ">= 8 x the teacher in PyTorch (same rows and threads, best batch of each), demo <= 300 s, answer < 1 s.",
            "",
            "| seed | teacher % | student % | kept % | over control, points | bundle MB | x PyTorch | x ONNX | demo, s "
            "| first answer, s |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"Kept: {ledger.spread(kept)}; faster: {ledger.spread(faster)}; whole demo: {ledger.spread(times)} s.",
            f"`tutelage --help`: {seconds:.2f} s, torch in sys.modules: {'yes' if torch else 'no'}.",
        ],
    )


if __name__ == "__main__":
    main()
