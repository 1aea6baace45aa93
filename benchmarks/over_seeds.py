"""How often intervals over seeds and rows hold the truth, in simulations where it is known.

python benchmarks/over_seeds.py [--trials 400] [--record]

Each trial draws differences of student and control on 400 rows from S seeds: a part that all seeds share, row by row,
one of the row in that seed, and one of the seed. Their truth is 0. Takes about two minutes.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

import ledger
from tutelage.evaluate.intervals import Bootstrap, Resampled

ROWS, RESAMPLES = 400, 300
SEEDS, SPREADS = (2, 3, 5, 10), (0.0, 0.02, 0.05)
OF_ROWS = 0.3
"""Standard deviation over rows, of either part; over seeds it is one of `SPREADS`."""
NAMES = ("ours", "Multi-Bootstrap", "rows of one seed")


def trial(count: int, spread: float, random: np.random.Generator) -> list[tuple[float, float]]:
    """(low, high) of each way, on the same figures."""
    rows = OF_ROWS * (random.normal(size=ROWS) + random.normal(size=(count, ROWS)))
    rows += spread * random.normal(size=(count, 1))
    weights = random.multinomial(ROWS, np.full(ROWS, 1 / ROWS), size=RESAMPLES) / ROWS
    samples = rows @ weights.T
    bootstrap = Bootstrap(ROWS, resamples=RESAMPLES, confidence=0.95, seed=0)
    ours = bootstrap.mean([Resampled(float(row.mean()), drawn) for row, drawn in zip(rows, samples, strict=True)])
    drawn = random.integers(0, count, size=(RESAMPLES, count))
    multi = samples[drawn, np.arange(RESAMPLES)[:, None]].mean(axis=1)
    return [(ours.low, ours.high), _percentiles(multi), _percentiles(samples[0])]


def _percentiles(samples: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--record", action="store_true", help="write the section of RESULTS.md")
    asked = parser.parse_args()
    lines = ["| seeds | sd of seeds | " + " | ".join(NAMES) + " |", "|---:|---:|" + "---:|" * len(NAMES)]
    for count in SEEDS:
        for spread in SPREADS:
            random = np.random.default_rng([count, round(1000 * spread)])
            found = np.array([trial(count, spread, random) for _ in range(asked.trials)])
            held = ((found[..., 0] <= 0) & (found[..., 1] >= 0)).mean(axis=0)
            lines.append(f"| {count} | {spread:g} | " + " | ".join(f"{100 * share:.1f} %" for share in held) + " |")
    if asked.record:
        command = f"python benchmarks/over_seeds.py --trials {asked.trials} --record"
        ledger.record("Intervals over seeds", command, lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
