"""What a workshop makes: a student that has learned, and the graph of it that is deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.artifacts.network import Network
from tutelage.compress.graph import Graph
from tutelage.recipe import StudentRecipe
from tutelage.student.build import Shape

GATED = ", cascade "
"""What the stage of a cascade of its own has after the name of that which compressed the student."""


@dataclass(frozen=True)
class Bench:
    """Where one student is made: its stages in the run, and its folders."""

    student: Path
    export: Path
    learning: str = "student"
    compressing: str = "compress"
    balancing: str = "balance"
    seed: int | None = None
    """None: the recipe's."""

    def seconds(self, times: Mapping[str, float]) -> float:
        """What training and compressing it took, of the seconds of all stages, when it was done."""
        return times[self.learning] + times[self.compressing]


@dataclass(frozen=True)
class Learned:
    """A student that has learned."""

    name: str
    """Changes whenever anything that it was made from does."""
    network: Network
    shape: Shape
    bench: Bench
    kept: dict[str, Any]
    settings: StudentRecipe
    trained: bool
    """Whether it was distilled; the teacher's own layers need not be."""


@dataclass(frozen=True)
class Made:
    """A student and the graph that is deployed."""

    learned: Learned
    graph: Graph
    name: str
    cascade_loss: float | None = None
    """What its cascade may cost, where that is more than the recipe says."""
    middle: Made | None = None
    """A cheaper student that answers first, in the same graph."""

    @property
    def network(self) -> Network:
        """The student in PyTorch."""
        return self.learned.network

    @property
    def graph_file(self) -> Path:
        """The graph on disk."""
        return self.learned.bench.export / self.graph.file

    @property
    def ungated(self) -> Path:
        """The same without a cascade."""
        return self.learned.bench.export / f"{self.graph.precision}.onnx"

    @property
    def parameters(self) -> int:
        """Number of weights of everyone who may answer."""
        return self.network.parameters + (self.middle.network.parameters if self.middle else 0)
