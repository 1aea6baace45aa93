"""Two graphs of one network side by side: how well each answers, and how much faster one is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage import session
from tutelage.artifacts.network import Network
from tutelage.artifacts.tokens import Tokens
from tutelage.compress.run import outputs

_ROUNDS = 5
_TIMED_ROWS = 256


@dataclass(frozen=True)
class Choice:
    """What was decided on the way to the deployed graph, why, and on what evidence."""

    what: str
    taken: str
    why: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Judge:
    """Validation rows on which graphs of a network are compared, on this machine."""

    network: Network
    tokens: Tokens
    targets: NDArray[np.float64]
    threads: int
    _said: dict[Path, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    def outputs(self, file: Path) -> NDArray[np.float32]:
        """What a graph says of the rows (N, K); each is asked once."""
        if file not in self._said:
            self._said[file] = outputs(file, self.network, self.tokens, threads=self.threads)
        return self._said[file]

    def score(self, said: NDArray[Any]) -> float:
        """The headline score of outputs (N, K)."""
        return self.network.task.headline.compute(self.network.task.predict(said), self.targets)

    def lost(self, before: float, after: float) -> float:
        """How much worse one headline score is than another, positive when it is."""
        return (before - after) * (1 if self.network.task.headline.higher_is_better else -1)

    def speed_ratio(self, one: Path, other: Path) -> float:
        """Median over paired rounds of the time of one graph over that of another, on the same rows."""
        rows = np.linspace(0, len(self.tokens) - 1, min(len(self.tokens), _TIMED_ROWS)).astype(np.int64)
        batches = []
        for part in np.array_split(rows[np.argsort(self.tokens.lengths[rows])], max(1, len(rows) // 16)):
            batch = self.network.collate(self.tokens, part)
            batches.append({"input_ids": batch.input_ids.numpy(), "attention_mask": batch.attention_mask.numpy()})
        sessions = [session.start(str(file), threads=self.threads) for file in (one, other)]
        ratios = []
        for number in range(_ROUNDS + 1):
            times = []
            for running in sessions:
                start = time.perf_counter()
                for feed in batches:
                    running.run(None, feed)
                times.append(time.perf_counter() - start)
            if number:  # the first round warms up
                ratios.append(times[0] / times[1])
        return float(np.median(ratios))

    def measured(self, ratio: float, lost: float) -> str:
        """Both results in a few words."""
        return f"{ratio:.2f} x as fast here, {self.network.task.headline.title.lower()} {-lost:+.4f} on validation"
