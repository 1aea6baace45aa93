"""The proof of a run: who is compared, as what, and on which rows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage import rewording, storage
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.measurements import LearningCurve, Measurements, Search, Seeds
from tutelage.artifacts.network import Network
from tutelage.compress.export import export, fits
from tutelage.errors import TutelageError
from tutelage.evaluate import elsewhere, levels, measure, memory, seeds, sizes, speed
from tutelage.evaluate.baseline import Baseline
from tutelage.evaluate.intervals import Bootstrap
from tutelage.evaluate.measure import Candidate, Player
from tutelage.evaluate.seeds import Trained
from tutelage.folder import RunFolder
from tutelage.made import Made
from tutelage.progress import Logged
from tutelage.recipe import Recipe
from tutelage.sizes import Neighbour
from tutelage.workshop import Workshop

_CHECKED_ROWS = 16
# Texts of other data that are cut into tokens to see whether a vocabulary suits them, and times the tokens that do not.
_CHECKED_WORDS, _MANY_PIECES = 500, 1.15


@dataclass(frozen=True)
class Cast:
    """Everyone who takes part, and where they come from."""

    workshop: Workshop
    made: Made
    control: Network | None
    search: Search | None
    curve: LearningCurve | None = None
    repeats: Sequence[Trained] = ()
    """Student and control from other seeds."""
    neighbours: Sequence[Neighbour] = ()
    """The student one size smaller and one larger."""

    @property
    def recipe(self) -> Recipe:
        """What was asked for."""
        return self.workshop.recipe

    @property
    def folder(self) -> RunFolder:
        """Where the run keeps its artifacts."""
        return self.workshop.folder

    @property
    def corpus(self) -> Corpus:
        """The rows."""
        return self.workshop.corpus

    @property
    def threads(self) -> int:
        """CPU threads of everyone."""
        return self.workshop.threads


def prove(cast: Cast, facts: dict[str, Any], progress: Logged) -> Measurements:
    """Let all answer the test rows, time them in turns, and put every figure together."""
    settings, test = cast.recipe.evaluate, cast.corpus["test"]
    drafts = cast.folder.export / "drafts"
    try:
        players = _players(cast, drafts, progress)
        beside = {one.where: _deployed(f"One size {one.where}", one.made, cast, drafts) for one in cast.neighbours}
        everyone = {**players, **beside}
        examined = measure.examine(everyone, test.texts(), speed_rows=settings.speed_rows, progress=progress)
        candidates = {name: examined.candidates[name] for name in players}
        _warn_of_words(cast, progress)
        learned = _learned(cast) if cast.corpus.others else np.empty(0, dtype="V16")
        others = elsewhere.examine(
            cast.corpus, players, settings, learned=learned, seed=cast.recipe.seed, progress=progress
        )
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
    bootstrap = Bootstrap(
        len(test), resamples=settings.resamples, confidence=settings.confidence, seed=cast.recipe.seed
    )
    with progress.bar("Computing intervals", 1) as bar:
        scored = measure.score(cast.corpus.task, candidates, test.targets, bootstrap)
        found = sizes.score(
            cast.corpus.task,
            {name: examined.candidates[name] for name in beside},
            student=candidates["student"],
            teacher=candidates["teacher"],
            targets=test.targets,
            bootstrap=bootstrap,
        )
        told = _seeds(cast, candidates, bootstrap)
        bar.advance()
    return measure.assemble(
        cast.corpus,
        candidates,
        scored,
        recipe=cast.recipe,
        machine=facts,
        choices=cast.folder.choices(),
        times=cast.folder.times(),
        history={part: history for part, history in cast.folder.histories().items() if part in players},
        warnings=progress.warnings,
        other_programs=examined.other_programs,
        search=cast.search,
        others=others,
        curve=cast.curve,
        seeds=told,
        sizes=found,
    )


def _learned(cast: Cast) -> NDArray[np.void]:
    """Keys of all texts that anybody may have learned from (N,)."""
    texts = [*(split.keys for split in cast.workshop.splits), rewording.keys(cast.recipe, cast.folder)]
    return np.concatenate(texts)


def _seeds(cast: Cast, candidates: Mapping[str, Candidate], bootstrap: Bootstrap) -> Seeds | None:
    """The students from all seeds, that of the recipe first."""
    if not cast.repeats:
        return None
    student, control = candidates["student"], candidates.get("control")
    said = None if control is None else control.predictions
    first = Trained(cast.recipe.seed, cast.made.name, student.player.describes, student.predictions, said)
    teacher, targets = candidates["teacher"].predictions, cast.corpus["test"].targets
    return seeds.score(cast.corpus.task, [first, *cast.repeats], teacher, targets, bootstrap)


def _warn_of_words(cast: Cast, progress: Logged) -> None:
    """Say where a vocabulary that was trimmed to the training texts does not suit other data."""
    teacher, student = cast.workshop.teacher, cast.made.network
    for name, split in cast.corpus.others.items():
        # Beginnings that both read whole: a text that either cuts off would look alike.
        some = split.texts(np.arange(min(len(split), _CHECKED_WORDS)))
        texts = [text[: teacher.reading.max_tokens // 2] for text in some]
        times = float(student.tokenize(texts).lengths.sum() / teacher.tokenize(texts).lengths.sum())
        if times > _MANY_PIECES:
            progress.warn(
                f"{name}: the student's vocabulary cuts its texts into {times:.1f} times as many tokens as the "
                "teacher's, for it was trimmed to the texts to learn from; give texts of this kind as "
                "`data.unlabelled`, or take `student.vocabulary: keep`"
            )


def _players(cast: Cast, drafts: Path, progress: Logged) -> dict[str, Player]:
    players = {"teacher": _teacher(cast, drafts, progress), "student": _student(cast, drafts)}
    if cast.control is not None:
        players["control"] = _network("No-distillation control", cast.control, cast.folder.control)
    return {**players, "baseline": _baseline(cast)}


def _teacher(cast: Cast, drafts: Path, progress: Logged) -> Player:
    """The teacher as it was made, and as ONNX by the same export, unless it is too large for one file."""
    player = replace(
        _network("Teacher", cast.workshop.teacher, cast.folder.teacher),
        footprint=lambda texts: memory.of_network(
            cast.folder.teacher, texts, threads=cast.threads, max_tokens=cast.workshop.teacher.reading.max_tokens
        ),
    )
    if not fits(cast.workshop.teacher):
        progress.warn("The teacher is too large for an ONNX file: it is timed in PyTorch alone.")
        return player
    graph = drafts / "teacher.onnx"
    with progress.bar("Exporting the teacher, to compare", 1) as bar:
        try:
            export(cast.workshop.teacher, graph, texts=cast.corpus["validation"].texts()[:_CHECKED_ROWS])
        except TutelageError as error:
            # It is only compared with.
            progress.warn(f"{error.given}: the teacher is timed in PyTorch alone.")
            return player
        packed = cast.workshop.pack(cast.workshop.teacher, graph, drafts / "teacher", "fp32")
        bar.advance()
    return replace(player, runs={**player.runs, "onnxruntime": speed.packed(packed)})


def _student(cast: Cast, drafts: Path) -> Player:
    """The student as it is deployed, and in PyTorch."""
    player = _deployed("Student", cast.made, cast, drafts)
    place = drafts / "student"
    return replace(
        player,
        runs={**player.runs, "pytorch": speed.pytorch(cast.made.network)},
        footprint=lambda texts: memory.of_bundle(place, texts, threads=cast.threads),
    )


def _deployed(title: str, made: Made, cast: Cast, drafts: Path) -> Player:
    """A student as the bundle that it would be."""
    packed = cast.workshop.pack(made.network, made.graph_file, drafts / title.lower(), made.graph.precision)
    return Player(
        title,
        made.network.describe(made.graph.precision),
        packed.predictions,
        {"onnxruntime": speed.packed(packed)},
        deployed_in="onnxruntime",
        parameters=made.parameters,
        size=storage.size_of(packed.path),
        levels=lambda texts: levels.measure(packed, texts, levels=3 if made.middle else 2),
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
        {"scikit-learn": lambda texts, _: cast.corpus.task.decode(baseline.predictions(texts))},
        deployed_in="scikit-learn",
        parameters=baseline.parameters,
        size=baseline.size,
        batches=(0,),
    )
