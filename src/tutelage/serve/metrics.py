"""Figures of a running server in Prometheus' text format; no text of a user ever becomes a label."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_INPUTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Histogram:
    """Counts of values up to each bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.counts, self.total = tuple(bounds), [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str) -> list[str]:
        """Cumulative buckets, sum and count."""
        found, seen = [], 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            seen += count
            found.append(f'{name}_bucket{{le="{bound}"}} {seen}')
        return [*found, f"{name}_sum {self.total:.6f}", f"{name}_count {seen}"]


class Metrics:
    """Everything a server counts. Safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._inputs: Counter[str] = Counter()
        self._seconds, self._batch = Histogram(_SECONDS), Histogram(_INPUTS)

    def request(self, path: str, status: int, seconds: float) -> None:
        """One request answered; `path` is one of the server's own, never what a client wrote."""
        with self._lock:
            self._requests[path, status] += 1
            if path == "/v1/predict":
                self._seconds.observe(seconds)

    def batch(self, answered: int, failed: int) -> None:
        """One batch of texts done."""
        with self._lock:
            self._batch.observe(answered + failed)
            self._inputs["answered"] += answered
            self._inputs["failed"] += failed

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """The page; `gauges` maps a name to its help and value."""
        with self._lock:
            lines = _head("tutelage_requests_total", "counter", "Requests by path and status.")
            lines += [
                f'tutelage_requests_total{{path="{path}",status="{status}"}} {count}'
                for (path, status), count in sorted(self._requests.items())
            ]
            lines += _head("tutelage_inputs_total", "counter", "Texts by outcome.")
            lines += [
                f'tutelage_inputs_total{{outcome="{outcome}"}} {self._inputs[outcome]}'
                for outcome in ("answered", "failed")
            ]
            lines += _head("tutelage_predict_seconds", "histogram", "Time to answer /v1/predict.")
            lines += self._seconds.lines("tutelage_predict_seconds")
            lines += _head("tutelage_batch_inputs", "histogram", "Texts answered together.")
            lines += self._batch.lines("tutelage_batch_inputs")
        for name, (meaning, value) in gauges.items():
            lines += [*_head(name, "gauge", meaning), f"{name} {value:g}"]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
