"""Bootstrap intervals, paired: every model is resampled on the same rows.

Percentile bootstrap (Efron 1979). The interval speaks of the test rows drawn, not of the seeds of the training; `mean`
speaks of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
    share: bool = False
    """It is the share of the rows that are right."""


def ratio(one: Resampled, other: Resampled) -> Resampled:
    """How much of `other` is kept by `one`, resample by resample; 0, and not finite, where there is nothing to keep.

    A score below zero (of a teacher that ranks the wrong way round) is nothing: to be as wrong is not to keep it.
    """
    something = np.where(other.samples > 0, other.samples, np.nan)
    return Resampled(one.value / other.value if other.value > 0 else 0.0, one.samples / something)


def difference(one: Resampled, other: Resampled) -> Resampled:
    """How much `one` is above `other`, resample by resample."""
    return Resampled(one.value - other.value, one.samples - other.samples)


def unseen(rows: int, tail: float) -> float:
    """The largest share of rows that may be wrong although none of so many is, unless something rarer than `tail`."""
    return float(1.0 - tail ** (1.0 / rows))


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
        found = {}
        for place, metric in enumerate(metrics):
            value = metric.compute(predictions, targets)
            # As much as resampling adds is taken off again; else the interval could lie above the figure.
            more = samples[place].mean() - value if metric.inflated else 0.0
            shifted = np.maximum(samples[place] - more, 0.0) if more else samples[place]
            found[metric.name] = Resampled(value, shifted, metric.share)
        return found

    def interval(self, figure: Resampled) -> Interval:
        """A figure with the percentiles of its resamples; resamples where it is undefined are left out.

        Where all of N rows are right, every resample says 1, however few there are: the lower end is then the exact one
        of N successes in N (Clopper and Pearson 1934).
        """
        value, finite = figure.value, figure.samples[np.isfinite(figure.samples)]
        if not len(finite):
            return Interval(value, value, value)
        low, high = np.quantile(finite, self._tails)
        if figure.share and value == 1.0:
            low = 1.0 - unseen(self._count, self._tails[0])
        return Interval(value, float(low), float(high))

    def ratio(self, one: Resampled, other: Resampled) -> Interval:
        """How much of `other` is kept by `one`.

        Where no resample has less, few rows have shown no loss, and that is not to be sure of none: see `interval`.
        """
        kept = ratio(one, other)
        found, finite = self.interval(kept), kept.samples[np.isfinite(kept.samples)]
        if one is other or not one.share or not len(finite) or finite.min() < 1.0:
            return found
        return replace(found, low=max(found.low - unseen(self._count, self._tails[0]) / other.value, 0.0))

    def difference(self, one: Resampled, other: Resampled) -> Interval:
        """How much `one` is above `other`."""
        return self.interval(difference(one, other))

    def mean(self, trained: Sequence[Resampled]) -> Interval:
        """The mean of one figure over S >= 2 trainings from different seeds, which stand for all seeds and all rows.

            variance = s^2 / S + variance of the mean over the resamples of the rows

        s is the standard deviation over seeds. The interval is Student's, with the degrees of freedom of such a sum
        (Satterthwaite 1946): few seeds that differ make it as wide as they must. Resampling the seeds too, as the
        Multi-Bootstrap does (Sellam et al. 2022, arXiv 2106.16163), agrees for many seeds and is too narrow for two
        or three (benchmarks/over_seeds.py). What seeds and rows make together is counted twice, as there: the
        interval is a little too wide rather than too narrow (Owen 2007, The pigeonhole bootstrap).
        """
        from scipy.special import stdtrit

        values = np.array([figure.value for figure in trained])
        means = np.mean([figure.samples for figure in trained], axis=0)
        finite = means[np.isfinite(means)]
        value, count = float(values.mean()), len(values)
        parts = float(values.var(ddof=1)) / count, float(finite.var()) if len(finite) else 0.0
        squares = parts[0] ** 2 / (count - 1) + parts[1] ** 2 / max(self._count - 1, 1)
        if squares == 0:
            return Interval(value, value, value)
        reach = float(stdtrit(sum(parts) ** 2 / squares, self._tails[1])) * float(np.sqrt(sum(parts)))
        return Interval(value, value - reach, value + reach)

    def intervals(self, scores: Mapping[str, Resampled]) -> dict[str, dict[str, float]]:
        """All of one model, as in measurements.json."""
        return {name: self.interval(score).as_dict() for name, score in scores.items()}
