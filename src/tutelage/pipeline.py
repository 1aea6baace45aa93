"""The story of a run, in order. The file to read first.

    recipe -> data -> teacher -> signals -> student -> compress -> evaluate -> bundle -> report

Every stage is called here and nowhere else. Each is skipped when its result is already there for the same input, so
that running again does only what changed, and a run that was killed goes on where it was.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from tutelage import recipe as recipes
from tutelage import storage
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.measurements import Measurements
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording, Signals
from tutelage.bundle import write as bundle_write
from tutelage.bundle.limits import Limits
from tutelage.bundle.predict import Bundle
from tutelage.bundle.predict import load as load_bundle
from tutelage.compress import graph, vocabulary
from tutelage.compress.export import export
from tutelage.compress.graph import Graph
from tutelage.data.identity import fingerprint_sources
from tutelage.data.prepare import prepare
from tutelage.encoding import Reading
from tutelage.errors import Interrupted
from tutelage.evaluate import machine, measure, memory, speed
from tutelage.evaluate.baseline import Baseline
from tutelage.evaluate.intervals import Bootstrap
from tutelage.evaluate.measure import Player
from tutelage.folder import LOG, RunFolder
from tutelage.progress import Logged, Progress, Silent
from tutelage.recipe import Precision, Recipe
from tutelage.report import page
from tutelage.report.card import card
from tutelage.student import build, distil, initialise
from tutelage.student.build import Shape
from tutelage.tasks import Array
from tutelage.teacher import fine_tune, load
from tutelage.teacher import signals as recording
from tutelage.text import normalise
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
    def student(self) -> Predictor:
        """The student in PyTorch."""
        return self._predictor("student")

    @cached_property
    def teacher(self) -> Predictor:
        """The teacher in PyTorch."""
        return self._predictor("teacher")

    def _predictor(self, name: str) -> Predictor:
        reading = Reading(self.recipe.data.max_tokens, self.recipe.data.long_text)
        return Predictor(Network.load(self.path / name, self.bundle.task, reading))


@dataclass(frozen=True)
class Predictor:
    """A network that answers as a bundle does."""

    network: Network

    def predictions(self, texts: list[str]) -> Array:
        """Probabilities (N, K) or values (N,)."""
        return self.network.task.predict(self.network.outputs(self.network.tokenize(texts)))

    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        """One record a text."""
        return self.network.task.decode(self.predictions([normalise(text) for text in texts]))


def run(
    source: str | Path | Mapping[str, Any] | Recipe, *, resume: bool = False, progress: Progress | None = None
) -> Run:
    """Run a recipe from data to report and return what came of it.

    `source` is a recipe file, a mapping, or a `Recipe`. Raises the errors of `tutelage.errors`; interrupted, it
    raises `Interrupted`, and the same call goes on where it was.
    """
    recipe = source if isinstance(source, Recipe) else recipes.load(source)
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
        self.reading = Reading(recipe.data.max_tokens, recipe.data.long_text)
        self.threads = torch.get_num_threads()

    def tell(self) -> Run:
        self.progress.note("run", recipe=self.recipe.model_dump(mode="json"))
        corpus = self._data()
        name, teacher = self._teacher(corpus)
        name, student, shape = self._student(name, corpus, teacher)
        control = self._control(name, corpus, teacher, shape) if self.recipe.student.control else None
        name, made = self._compress(name, corpus, student)
        measurements = self._prove(name, corpus, teacher, student, control, made)
        self._publish(student, made, measurements)
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
            network, fitted = load.load(recipe.model, corpus.task, self.reading)
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

    def _student(self, teacher_name: str, corpus: Corpus, teacher: Network) -> tuple[str, Network, Shape]:
        recipe = self.recipe.student
        shape = build.choose(recipe, teacher.model.config)
        fingerprint = storage.fingerprint_of(teacher_name, recipe.model_dump(), vars(shape))
        if self.folder.done("student", fingerprint, self.folder.student) is None:
            splits = [corpus["train"], *([corpus["unlabelled"]] if "unlabelled" in corpus.splits else [])]
            signals = self._signals(teacher, splits, shape)
            started = time.monotonic()
            student = self._new_student(corpus, teacher, shape)
            state = distil.distil(
                student,
                distil.transfer_set(student, splits, signals),
                signals,
                corpus["validation"],
                recipe,
                seed=self.recipe.seed,
                folder=self.folder.training / "student",
                progress=self.progress,
            )
            student.save(self.folder.student)
            self.folder.finish("student", fingerprint, started=started, history=state.history)
        return fingerprint, Network.load(self.folder.student, corpus.task, self.reading), shape

    def _signals(self, teacher: Network, splits: list[Split], shape: Shape) -> Signals:
        started = time.monotonic()
        full = build.shape_of(teacher.model.config)
        layers = initialise.matched_layers(full.layers, shape.layers) if self.recipe.student.hidden else []
        wanted = Recording(teacher.task.width, tuple(layers), full.width if layers else 0)
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

    def _prove(
        self,
        name: str,
        corpus: Corpus,
        teacher: Network,
        student: Network,
        control: Network | None,
        made: Graph,
    ) -> Measurements:
        """Measure every model on the same test rows, on this machine, in one go."""
        facts = machine.describe(threads=self.threads)
        fingerprint = storage.fingerprint_of(name, control is None, self.recipe.evaluate.model_dump(), facts)
        if self.folder.done("evaluate", fingerprint, self.folder.measurements) is None:
            started = time.monotonic()
            packed = self._pack(student, self.folder.export / made.file, made.precision, name="student")
            with self.progress.bar("Exporting the teacher, to compare", 1) as bar:
                file = self.folder.export / "teacher.onnx"
                export(teacher, file, texts=corpus["validation"].texts()[:16])
                teacher_packed = self._pack(teacher, file, "fp32", name="teacher")
                bar.advance()
            players = self._players(corpus, teacher, teacher_packed, student, packed, made)
            if control is not None:
                players["control"] = self._network_player("No-distillation control", control, self.folder.control)
            measurements = self._measurements(corpus, players, made, facts)
            measurements.save(self.folder.measurements)
            self.folder.finish("evaluate", fingerprint, started=started)
        return Measurements.load(self.folder.measurements)

    def _players(
        self, corpus: Corpus, teacher: Network, teacher_packed: Bundle, student: Network, packed: Bundle, made: Graph
    ) -> dict[str, Player]:
        """Who is compared: the teacher as it was made and as ONNX, the student as it is deployed, the baseline."""
        baseline = Baseline.fit(corpus, seed=self.recipe.seed)
        first = self._network_player("Teacher", teacher, self.folder.teacher)
        most = self.reading.max_tokens
        return {
            "teacher": replace(
                first,
                runs={**first.runs, "onnxruntime": speed.packed(teacher_packed)},
                footprint=lambda texts: memory.of_network(
                    self.folder.teacher, texts, threads=self.threads, max_tokens=most
                ),
            ),
            "student": Player(
                "Student",
                student.describe(made.precision),
                packed.predictions,
                {"onnxruntime": speed.packed(packed), "pytorch": speed.pytorch(student)},
                deployed_in="onnxruntime",
                parameters=student.parameters,
                size=storage.size_of(packed.path),
                footprint=lambda texts: memory.of_bundle(packed.path, texts, threads=self.threads),
            ),
            "baseline": Player(
                "TF-IDF + linear model",
                baseline.describe(),
                baseline.predictions,
                {"scikit-learn": lambda texts, _: baseline.predictions(texts)},
                deployed_in="scikit-learn",
                parameters=baseline.parameters,
                size=baseline.size,
            ),
        }

    def _network_player(self, title: str, network: Network, folder: Path) -> Player:
        return Player(
            title,
            network.describe("fp32"),
            Predictor(network).predictions,
            {"pytorch": speed.pytorch(network)},
            deployed_in="pytorch",
            parameters=network.parameters,
            size=storage.size_of(folder),
        )

    def _measurements(
        self, corpus: Corpus, players: dict[str, Player], made: Graph, facts: dict[str, Any]
    ) -> Measurements:
        settings, test = self.recipe.evaluate, corpus["test"]
        candidates = measure.examine(players, test.texts(), speed_rows=settings.speed_rows, progress=self.progress)
        bootstrap = Bootstrap(
            len(test), resamples=settings.resamples, confidence=settings.confidence, seed=self.recipe.seed
        )
        with self.progress.bar("Computing intervals", 1) as bar:
            scored = measure.score(corpus.task, candidates, test.targets, bootstrap)
            bar.advance()
        return measure.assemble(
            corpus,
            candidates,
            scored,
            recipe=self.recipe,
            machine=facts,
            choices=list(made.choices),
            times=self.folder.times(),
            history=self.folder.histories(),
            warnings=self.progress.warnings,
        )

    def _pack(self, network: Network, file: Path, precision: Precision, *, name: str = "", card: str = "") -> Bundle:
        """A bundle around a graph: a draft to measure, or the real one once there is a card to go with it."""
        place = self.folder.bundle if card else self.folder.export / name
        with tempfile.TemporaryDirectory() as temporary:
            tokenizer = Path(temporary) / "tokenizer.json"
            tokenizer.write_text(network.tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
            bundle_write.write(
                place,
                onnx_file=file,
                tokenizer_file=tokenizer,
                task=network.task,
                limits=Limits(
                    max_tokens=self.reading.max_tokens,
                    long_text=self.reading.long_text,
                    stride=self.reading.stride,
                    characters_per_token=self.reading.characters_per_token,
                    max_characters=self.recipe.data.max_characters,
                    normalise=self.recipe.data.normalise,
                    pad_id=network.pad,
                    precision=precision,
                ),
                card=card or "draft",
            )
        return load_bundle(place, threads=self.threads)

    def _publish(self, student: Network, made: Graph, measurements: Measurements) -> None:
        """The bundle with its card, and the page."""
        self._pack(student, self.folder.export / made.file, made.precision, card=card(measurements))
        page.write(measurements, self.folder.report)
