"""The proof of a run: who is compared, as what, and on which rows."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tutelage import storage
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.measurements import Measurements
from tutelage.artifacts.network import Network
from tutelage.bundle.limits import Limits
from tutelage.bundle.predict import Bundle, load
from tutelage.bundle.write import write
from tutelage.compress.export import export
from tutelage.compress.graph import Graph
from tutelage.evaluate import measure, memory, speed
from tutelage.evaluate.baseline import Baseline
from tutelage.evaluate.intervals import Bootstrap
from tutelage.evaluate.measure import Player
from tutelage.folder import RunFolder
from tutelage.progress import Logged
from tutelage.recipe import Precision, Recipe

_CHECKED_ROWS = 16


@dataclass(frozen=True)
class Cast:
    """Everyone who takes part, and where they come from."""

    recipe: Recipe
    folder: RunFolder
    corpus: Corpus
    teacher: Network
    student: Network
    control: Network | None
    graph: Graph
    threads: int

    @property
    def graph_file(self) -> Path:
        """The student's graph that is deployed."""
        return self.folder.export / self.graph.file

    def pack(self, network: Network, graph: Path, place: Path, precision: Precision, card: str = "draft") -> Bundle:
        """A bundle around a graph, as it is deployed; the same for a teacher that is only compared."""
        reading, data = network.reading, self.recipe.data
        limits = Limits(
            max_tokens=reading.max_tokens,
            long_text=reading.long_text,
            stride=reading.stride,
            characters_per_token=reading.characters_per_token,
            max_characters=data.max_characters,
            normalise=data.normalise,
            pad_id=network.pad,
            precision=precision,
        )
        tokenizer = network.tokenizer.backend_tokenizer.to_str()
        write(place, onnx_file=graph, tokenizer=tokenizer, task=network.task, limits=limits, card=card)
        return load(place, threads=self.threads)


def prove(cast: Cast, facts: dict[str, Any], progress: Logged) -> Measurements:
    """Let all answer the test rows, time them in turns, and put every figure together."""
    settings, test = cast.recipe.evaluate, cast.corpus["test"]
    drafts = cast.folder.export / "drafts"
    try:
        players = _players(cast, drafts, progress)
        candidates = measure.examine(players, test.texts(), speed_rows=settings.speed_rows, progress=progress)
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
    bootstrap = Bootstrap(
        len(test), resamples=settings.resamples, confidence=settings.confidence, seed=cast.recipe.seed
    )
    with progress.bar("Computing intervals", 1) as bar:
        scored = measure.score(cast.corpus.task, candidates, test.targets, bootstrap)
        bar.advance()
    return measure.assemble(
        cast.corpus,
        candidates,
        scored,
        recipe=cast.recipe,
        machine=facts,
        choices=cast.folder.choices(),
        times=cast.folder.times(),
        history=cast.folder.histories(),
        warnings=progress.warnings,
    )


def _players(cast: Cast, drafts: Path, progress: Logged) -> dict[str, Player]:
    players = {"teacher": _teacher(cast, drafts, progress), "student": _student(cast, drafts)}
    if cast.control is not None:
        players["control"] = _network("No-distillation control", cast.control, cast.folder.control)
    return {**players, "baseline": _baseline(cast)}


def _teacher(cast: Cast, drafts: Path, progress: Logged) -> Player:
    """The teacher as it was made, and as ONNX by the same export."""
    graph = drafts / "teacher.onnx"
    with progress.bar("Exporting the teacher, to compare", 1) as bar:
        export(cast.teacher, graph, texts=cast.corpus["validation"].texts()[:_CHECKED_ROWS])
        packed = cast.pack(cast.teacher, graph, drafts / "teacher", "fp32")
        bar.advance()
    player = _network("Teacher", cast.teacher, cast.folder.teacher)
    return replace(
        player,
        runs={**player.runs, "onnxruntime": speed.packed(packed)},
        footprint=lambda texts: memory.of_network(
            cast.folder.teacher, texts, threads=cast.threads, max_tokens=cast.teacher.reading.max_tokens
        ),
    )


def _student(cast: Cast, drafts: Path) -> Player:
    """The student as it is deployed, and in PyTorch."""
    packed = cast.pack(cast.student, cast.graph_file, drafts / "student", cast.graph.precision)
    return Player(
        "Student",
        cast.student.describe(cast.graph.precision),
        packed.predictions,
        {"onnxruntime": speed.packed(packed), "pytorch": speed.pytorch(cast.student)},
        deployed_in="onnxruntime",
        parameters=cast.student.parameters,
        size=storage.size_of(packed.path),
        footprint=lambda texts: memory.of_bundle(packed.path, texts, threads=cast.threads),
    )


def _network(title: str, network: Network, folder: Path) -> Player:
    return Player(
        title,
        network.describe("fp32"),
        network.predictions,
        {"pytorch": speed.pytorch(network)},
        deployed_in="pytorch",
        parameters=network.parameters,
        size=storage.size_of(folder),
    )


def _baseline(cast: Cast) -> Player:
    baseline = Baseline.fit(cast.corpus, seed=cast.recipe.seed)
    return Player(
        "TF-IDF + linear model",
        baseline.describe(),
        baseline.predictions,
        {"scikit-learn": lambda texts, _: baseline.predictions(texts)},
        deployed_in="scikit-learn",
        parameters=baseline.parameters,
        size=baseline.size,
        batches=(0,),
    )
