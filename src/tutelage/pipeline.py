"""The story of a run, in order. The file to read first.

    recipe -> data -> teacher -> signals -> student -> compress -> evaluate -> bundle -> report

Every stage is called here and nowhere else. Each is skipped when its result is already there for the same input, so
that running again does only what changed, and a run that was killed goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from tutelage import proof, storage
from tutelage import recipe as recipes
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.measurements import Measurements
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording, Signals
from tutelage.bundle.predict import Bundle
from tutelage.bundle.predict import load as load_bundle
from tutelage.compress import graph, vocabulary
from tutelage.compress.graph import Graph
from tutelage.data.identity import fingerprint_sources
from tutelage.data.prepare import prepare
from tutelage.encoding import reading
from tutelage.errors import Interrupted
from tutelage.evaluate import machine
from tutelage.folder import LOG, RunFolder
from tutelage.progress import Logged, Progress, Silent
from tutelage.recipe import Recipe
from tutelage.report import page
from tutelage.report.card import card
from tutelage.student import build, distil, initialise, losses, widen
from tutelage.student.build import Shape
from tutelage.tasks import TASKS
from tutelage.teacher import fine_tune, load
from tutelage.teacher import signals as recording
from tutelage.training import supervised


@dataclass(frozen=True)
class Run:
    """A finished run."""

    path: Path
    recipe: Recipe
    measurements: Measurements

    @cached_property
    def bundle(self) -> Bundle:
        """The deployable student, as `tutelage.load` gives it."""
        return load_bundle(self.path / "bundle")

    @cached_property
    def student(self) -> Network:
        """The student in PyTorch."""
        return self._network("student")

    @cached_property
    def teacher(self) -> Network:
        """The teacher in PyTorch."""
        return self._network("teacher")

    def _network(self, name: str) -> Network:
        data = self.recipe.data
        return Network.load(self.path / name, self.bundle.task, reading(data.max_tokens, data.long_text))


def run(
    source: str | Path | Mapping[str, Any] | Recipe, *, resume: bool = False, progress: Progress | None = None
) -> Run:
    """Run a recipe from data to report and return what came of it.

    `source` is a recipe file, a mapping, or a `Recipe`. Raises the errors of `tutelage.errors`; interrupted, it
    raises `Interrupted`, and the same call goes on where it was.
    """
    recipe = source if isinstance(source, Recipe) else recipes.load(source)
    losses.choose(recipe.student.loss, TASKS[recipe.task])
    folder = RunFolder.claim(recipe, resume=resume)
    torch.set_num_threads(recipe.threads or torch.get_num_threads())
    try:
        with folder.locked():
            log = Logged(progress or Silent(), folder.path / LOG)
            return _Story(recipe, folder, log).tell()
    except KeyboardInterrupt:
        name = source if isinstance(source, str | Path) else folder.path / "recipe.yaml"
        raise Interrupted(
            "stopped; everything up to the last checkpoint is kept",
            cure=f"go on with: tutelage run {name} --resume",
        ) from None


class _Story:
    """One run. Each method is one stage: done before, or done now."""

    def __init__(self, recipe: Recipe, folder: RunFolder, progress: Logged) -> None:
        self.recipe, self.folder, self.progress = recipe, folder, progress
        self.reading = reading(recipe.data.max_tokens, recipe.data.long_text)
        self.threads = torch.get_num_threads()

    def tell(self) -> Run:
        self.progress.note("run", recipe=self.recipe.model_dump(mode="json"))
        corpus = self._data()
        losses.choose(self.recipe.student.loss, corpus.task)
        name, teacher = self._teacher(corpus)
        name, student, shape = self._student(name, corpus, teacher)
        control = self._control(name, corpus, teacher, shape) if self.recipe.student.control else None
        name, made = self._compress(name, corpus, student)
        cast = proof.Cast(self.recipe, self.folder, corpus, teacher, student, control, made, self.threads)
        measurements = self._prove(name, cast)
        self._publish(cast, measurements)
        self.progress.note("finished")
        return Run(self.folder.path, self.recipe, measurements)

    def _data(self) -> Corpus:
        fingerprint = fingerprint_sources(self.recipe)
        if self.folder.done("data", fingerprint, self.folder.corpus) is None:
            started = time.monotonic()
            prepare(self.recipe, self.folder.corpus, self.progress)
            self.folder.finish("data", fingerprint, started=started)
        corpus = Corpus.load(self.folder.corpus)
        for warning in corpus.health.get("warnings", []):
            self.progress.warn(warning)
        return corpus

    def _teacher(self, corpus: Corpus) -> tuple[str, Network]:
        recipe, folder = self.recipe.teacher, self.folder.teacher
        fingerprint = storage.fingerprint_of(
            corpus.fingerprint,
            recipe.model_dump(),
            load.identity(recipe.model),
            vars(self.reading),
            self.recipe.seed,
        )
        if self.folder.done("teacher", fingerprint, folder) is None:
            started = time.monotonic()
            network, fitted = load.load(recipe.model, corpus.task, self.reading, seed=self.recipe.seed)
            self._plan(network)
            history = fine_tune.fine_tune(
                network,
                corpus,
                recipe,
                fitted=fitted,
                seed=self.recipe.seed,
                folder=self.folder.training / "teacher",
                progress=self.progress,
            )
            network.save(folder)
            self.folder.finish("teacher", fingerprint, started=started, history=history)
        return fingerprint, Network.load(folder, corpus.task, self.reading)

    def _plan(self, teacher: Network) -> tuple[Shape, list[int]]:
        """The student's shape and the teacher's layers that its own are matched with.

        Asked before anything is trained, so that what cannot be is said then.
        """
        settings, full = self.recipe.student, build.shape_of(teacher.model.config)
        shape = build.choose(settings, teacher.model.config)
        if not settings.hidden:
            return shape, []
        return shape, initialise.matched_layers(full.layers, shape.layers, settings.layer_map)

    def _student(self, teacher_name: str, corpus: Corpus, teacher: Network) -> tuple[str, Network, Shape]:
        recipe = self.recipe.student
        shape, layers = self._plan(teacher)
        fingerprint = storage.fingerprint_of(teacher_name, recipe.model_dump(), vars(shape))
        if self.folder.done("student", fingerprint, self.folder.student) is None:
            splits = [corpus["train"], *([corpus["unlabelled"]] if "unlabelled" in corpus.splits else [])]
            signals = self._signals(teacher, splits, layers)
            started = time.monotonic()
            student = self._new_student(corpus, teacher, shape)
            transfer = distil.transfer_set(student, splits, signals)
            state = distil.distil(
                student,
                transfer,
                signals,
                corpus["validation"],
                recipe,
                seed=self.recipe.seed,
                folder=self.folder.training / "student",
                progress=self.progress,
            )
            student, choice = widen.widen(
                student,
                transfer.tokens,
                transfer.targets,
                corpus["validation"],
                said=lambda rows: signals.outputs(transfer.signal_rows[rows], transfer.keys[rows]),
                wanted=recipe.wide,
                progress=self.progress,
            )
            student.save(self.folder.student)
            choices = [choice] if choice else []
            self.folder.finish("student", fingerprint, started=started, history=state.history, choices=choices)
        return fingerprint, Network.load(self.folder.student, corpus.task, self.reading), shape

    def _signals(self, teacher: Network, splits: list[Split], layers: list[int]) -> Signals:
        started = time.monotonic()
        width = build.shape_of(teacher.model.config).width if layers else 0
        wanted = Recording(teacher.task.width, tuple(layers), width)
        signals = recording.record(teacher, splits, wanted, folder=self.folder.signals, progress=self.progress)
        self.folder.finish("signals", signals.folder.name, started=started)
        return signals

    def _new_student(self, corpus: Corpus, teacher: Network, shape: Shape) -> Network:
        """The student before it has learned anything: the control starts from the very same."""
        words = vocabulary.keep(teacher.tokenizer)
        if self.recipe.student.vocabulary == "trim":
            seen = [teacher.tokenize(split.texts()) for name, split in corpus.splits.items() if name != "test"]
            words = vocabulary.trim(teacher.tokenizer, seen, at_least=self.recipe.student.vocabulary_size)
        student = initialise.create(teacher, shape, tokenizer=words.tokenizer, kept=words.kept, seed=self.recipe.seed)
        freeze = self.recipe.student.freeze_embeddings
        projected = shape.width != build.shape_of(teacher.model.config).width
        initialise.freeze_embeddings(student, frozen=not projected if freeze == "auto" else freeze)
        return student

    def _control(self, student_name: str, corpus: Corpus, teacher: Network, shape: Shape) -> Network:
        """The same student from the same start, for as many epochs, on the labels alone."""
        fingerprint = storage.fingerprint_of("control", student_name)
        if self.folder.done("control", fingerprint, self.folder.control) is None:
            started = time.monotonic()
            control = self._new_student(corpus, teacher, shape)
            state = supervised.fit_labels(
                control,
                corpus["train"],
                corpus["validation"],
                self.recipe.student,
                title="Training the control (no distillation)",
                seed=self.recipe.seed,
                folder=self.folder.training / "control",
                progress=self.progress,
            )
            control, _ = widen.widen(
                control,
                control.tokenize(corpus["train"].texts()),
                corpus["train"].targets,
                corpus["validation"],
                wanted=self.recipe.student.wide,
                progress=self.progress,
            )
            control.save(self.folder.control)
            self.folder.finish("control", fingerprint, started=started, history=state.history)
        return Network.load(self.folder.control, corpus.task, self.reading)

    def _compress(self, student_name: str, corpus: Corpus, student: Network) -> tuple[str, Graph]:
        fingerprint = storage.fingerprint_of(student_name, self.recipe.compress.model_dump(), self.threads)
        kept = self.folder.done("compress", fingerprint, self.folder.export)
        if kept is None:
            started = time.monotonic()
            made = graph.make(
                student,
                corpus["validation"],
                self.recipe.compress,
                folder=self.folder.export,
                threads=self.threads,
                progress=self.progress,
            )
            kept = self.folder.finish("compress", fingerprint, started=started, **made.as_dict())
        return fingerprint, Graph(**{**kept, "choices": tuple(kept["choices"])})

    def _prove(self, name: str, cast: proof.Cast) -> Measurements:
        """Measure every model on the same test rows, on this machine, in one go."""
        facts = machine.describe(threads=self.threads)
        control = cast.control is not None
        fingerprint = storage.fingerprint_of(name, control, self.recipe.evaluate.model_dump(), facts)
        if self.folder.done("evaluate", fingerprint, self.folder.measurements) is None:
            started = time.monotonic()
            measurements = proof.prove(cast, facts, self.progress)
            measurements.save(self.folder.measurements)
            self.folder.finish("evaluate", fingerprint, started=started)
        return Measurements.load(self.folder.measurements)

    def _publish(self, cast: proof.Cast, measurements: Measurements) -> None:
        """The bundle with its card, and the page."""
        cast.pack(cast.student, cast.graph_file, self.folder.bundle, cast.graph.precision, card(measurements))
        page.write(measurements, self.folder.report)
