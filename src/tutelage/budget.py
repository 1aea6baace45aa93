"""What making students took, and what the next one would take: the arithmetic of a search's time.

Only the passes over the texts grow with a student's size. A wide part, the export and its checks take about as long for
one student as for another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Seconds that come with every student that is tried (a graph exported, quantised and timed); and what the wide part and
# choosing how to learn take, next to the passes over the texts. Of two cores of an AMX Xeon.
FIXED, _BESIDE = 7.0, 0.1


def texts_in(allowed: float, seconds: Sequence[float]) -> int:
    """How many texts students may read in some seconds, one after the other; `seconds` each takes for a text."""
    left = allowed - FIXED * (len(seconds) + 1)
    return max(int(left / ((1 + _BESIDE) * sum(seconds))), 0)


def share_in(allowed: float, seconds: Sequence[float], *, labelled: int, more: int) -> float:
    """The share of further texts that there is time for, after the labelled ones; all where they take hardly any."""
    if more * sum(seconds) < FIXED:
        return 1.0
    return min(max(texts_in(allowed, seconds) - labelled, 0) / more, 1.0)


def seconds_for(texts: int, each: float) -> float:
    """What a student takes that learns from so many texts, in seconds; `each` takes for one text."""
    return FIXED + (1 + _BESIDE) * texts * each


@dataclass(frozen=True)
class Spent:
    """What one student took, in seconds."""

    passes: float
    """Over all texts, validation after each included."""
    epochs: int
    fixed: float
    """Everything else, compression included."""
    cost: float
    """Seconds to read some rows before training: tells sizes apart."""

    @classmethod
    def of(cls, kept: Mapping[str, Any], learning: float, compressing: float, cost: float) -> Spent:
        """From what the stage of a student kept, and the seconds of both of its stages."""
        passes = min(float(kept.get("training", learning)), learning)
        return cls(passes, max(len(kept.get("history", [])), 1), learning - passes + compressing, cost)


@dataclass(frozen=True)
class Estimate:
    """What another student would take, in seconds."""

    epoch: float = 0.0
    fixed: float = 0.0

    @classmethod
    def by(cls, spent: Sequence[Spent], cost: float) -> Estimate:
        """Of a student of some cost, judged by the slowest so far for its size; nothing is known before the first."""
        return cls(
            max((one.passes / one.epochs * cost / one.cost for one in spent), default=0.0),
            max((one.fixed for one in spent), default=0.0),
        )

    def seconds(self, epochs: int) -> float:
        """For so many epochs."""
        return self.epoch * epochs + self.fixed

    def epochs_in(self, seconds: float, *, wanted: int) -> int:
        """How many of the epochs that are wanted fit into some seconds."""
        if self.epoch <= 0:
            return wanted if self.fixed <= seconds else 0
        return max(min(int((seconds - self.fixed) / self.epoch), wanted), 0)
