"""Who tells students what they learn, and what speaks beside a teacher while the teacher itself stays what it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tutelage import storage
from tutelage.artifacts.network import Network
from tutelage.artifacts.tokens import Tokens
from tutelage.artifacts.wide import features
from tutelage.tasks import Array

FILE = "beside.safetensors"


class Voice(ABC):
    """Changes what is recorded of a teacher's answers. Subclasses are final."""

    name: str
    """Changes whenever what it says does."""

    @abstractmethod
    def said(self, texts: Sequence[str], keys: NDArray[np.void], tokens: Tokens, outputs: Array) -> Array:
        """Answers (B, K) to some texts, from what was said before it spoke (B, K); calibrated, in the user's unit.

        `tokens` are the texts as the teacher reads them, `keys` (B,) name their content.
        """


@dataclass(frozen=True)
class Beside(Voice):
    """A linear model over the teacher's tokens and their pairs, which has learned the labels of F features.

    What it says of a text whose label it has learned would be that label. There it says what a model said that had not
    seen the label.
    """

    name: str
    table: Array
    """(F, K), of its share of the calibrated answer, in the user's unit."""
    bias: Array
    """(K,)."""
    deep: float
    """What the other answer is multiplied by."""
    buckets: int
    keys: NDArray[np.uint64]
    """(N, 2): the texts whose labels it has learned, sorted."""
    answers: Array
    """(N, K): what is said of them, its share likewise."""

    def said(self, texts: Sequence[str], keys: NDArray[np.void], tokens: Tokens, outputs: Array) -> Array:
        del texts
        rows = features(tokens, vocabulary=len(self.table) - self.buckets, buckets=self.buckets)
        wide = np.asarray(rows @ self.table + self.bias)
        learned, place = self._find(keys)
        wide[learned] = self.answers[place[learned]]
        return np.asarray(self.deep * outputs + wide)

    def _find(self, keys: NDArray[np.void]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which of the keys (B,) it has learned, and where each of those stands."""
        wanted = halves(keys)
        place = np.minimum(np.searchsorted(self.keys[:, 0], wanted[:, 0]), max(len(self.keys) - 1, 0))
        return (self.keys[place] == wanted).all(axis=1), place

    def save(self, folder: Path) -> None:
        """Write a folder that `load` reads, whole or not at all."""
        from safetensors.numpy import save_file

        numbers = {
            "table": self.table.astype(np.float32),
            "bias": self.bias,
            "deep": np.array(self.deep),
            "keys": self.keys,
            "answers": self.answers,
        }
        with storage.whole_folder(folder) as partial:
            save_file(numbers, partial / FILE, metadata={"buckets": str(self.buckets)})

    @classmethod
    def load(cls, folder: Path) -> Beside:
        """What `save` wrote; its name is that of the content."""
        from safetensors import safe_open

        with safe_open(folder / FILE, framework="numpy") as file:
            table, bias, deep, keys, answers = (
                file.get_tensor(name) for name in ("table", "bias", "deep", "keys", "answers")
            )
            buckets = int(file.metadata()["buckets"])
        return cls(storage.sha256_of(folder / FILE)[:32], table, bias, float(deep), buckets, keys, answers)


@dataclass(frozen=True)
class Speaker:
    """Who tells students what they learn."""

    network: Network
    name: str
    """Changes with whatever it says depends on."""
    signals: Path
    """Where what it says is recorded."""
    voices: Sequence[Voice] = ()
    """What speaks with it."""
    stage: str = "signals"


def halves(keys: NDArray[np.void]) -> NDArray[np.uint64]:
    """Keys (N,) of 16 bytes as two numbers each (N, 2)."""
    return np.ascontiguousarray(keys).view("<u8").reshape(-1, 2)
