"""Bootstrap intervals, paired: every model is resampled on the same rows.

Percentile bootstrap (Efron 1979). The interval speaks of the test rows drawn, not of the seeds of the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tutelage.tasks import Array, Metric


@dataclass(frozen=True)
class Interval:
    """A figure and the range it is in with the stated confidence."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """As in measurements.json."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Resampled:
    """One metric of one model: on all rows, and on each resample (R,)."""

    value: float
    samples: NDArray[np.float64]


class Bootstrap:
    """R resamples of N rows, the same for every model; drawn when needed, so that memory does not grow with R."""

    def __init__(self, rows: int, *, resamples: int, confidence: float, seed: int) -> None:
        self._count, self._resamples, self._seed = rows, resamples, seed
        self._tails = [(1 - confidence) / 2, (1 + confidence) / 2]

    def scores(
        self, metrics: tuple[Metric, ...], predictions: Array, targets: NDArray[np.float64]
    ) -> dict[str, Resampled]:
        """Every metric on all rows and on every resample."""
        samples = np.empty((len(metrics), self._resamples))
        for number in range(self._resamples):
            rows = np.random.default_rng([self._seed, number]).integers(0, self._count, size=self._count)
            chosen, wanted = predictions[rows], targets[rows]
            samples[:, number] = [metric.compute(chosen, wanted) for metric in metrics]
        return {
            metric.name: Resampled(metric.compute(predictions, targets), samples[place])
            for place, metric in enumerate(metrics)
        }

    def interval(self, value: float, samples: NDArray[np.float64]) -> Interval:
        """A figure with the percentiles of its resamples; resamples where it is undefined are left out."""
        finite = samples[np.isfinite(samples)]
        if not len(finite):
            return Interval(value, value, value)
        low, high = np.quantile(finite, self._tails)
        return Interval(value, float(low), float(high))

    def ratio(self, one: Resampled, other: Resampled) -> Interval:
        """How much of `other` is kept by `one`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            samples = one.samples / other.samples
            value = float(np.divide(one.value, other.value)) if other.value else 0.0
        return self.interval(value, samples)

    def difference(self, one: Resampled, other: Resampled) -> Interval:
        """How much `one` is above `other`."""
        return self.interval(one.value - other.value, one.samples - other.samples)

    def intervals(self, scores: Mapping[str, Resampled]) -> dict[str, dict[str, float]]:
        """All of one model, as in measurements.json."""
        return {name: self.interval(score.value, score.samples).as_dict() for name, score in scores.items()}
