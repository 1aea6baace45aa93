"""The story of a run, in order. The file to read first.

    recipe -> data -> teacher -> signals -> student -> compress -> evaluate -> bundle -> report

Every stage is called here and nowhere else. Each is skipped when its result is already there for the same input, so
that running again does only what changed, and a run that was killed goes on where it was.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from tutelage import assistant, proof, refuse, seeds, sizes, storage
from tutelage import control as controls
from tutelage import recipe as recipes
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.measurements import Measurements
from tutelage.artifacts.network import Network
from tutelage.bundle.predict import Bundle
from tutelage.bundle.predict import load as load_bundle
from tutelage.climb import Climb
from tutelage.data.identity import fingerprint_sources
from tutelage.data.prepare import prepare
from tutelage.encoding import reading
from tutelage.errors import Interrupted, TrainingError
from tutelage.evaluate import machine
from tutelage.folder import LABELS, LOG, RunFolder
from tutelage.labelling import Labelling
from tutelage.made import Bench, Made
from tutelage.progress import Logged, Progress, Silent
from tutelage.recipe import Recipe
from tutelage.report import page
from tutelage.report.card import card
from tutelage.tasks import TASKS
from tutelage.teachers import School
from tutelage.training.precision import has_units
from tutelage.voices import Choir
from tutelage.workshop import Workshop


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
        data, limits = self.recipe.data, self.bundle.limits
        read = reading(data.max_tokens, data.long_text)
        # Where the teacher's head reads the end of a text, its students read as it does.
        network = Network.load(self.path / name, self.bundle.task, replace(read, plain=limits.plain))
        return replace(network, normalised=data.normalise, max_characters=limits.max_characters)


def run(
    source: str | Path | Mapping[str, Any] | Recipe, *, resume: bool = False, progress: Progress | None = None
) -> Run:
    """Run a recipe from data to report and return what came of it.

    `source` is a recipe file, a mapping, or a `Recipe`. Raises the errors of `tutelage.errors`; interrupted, it
    raises `Interrupted`, and the same call goes on where it was.
    """
    recipe = source if isinstance(source, Recipe) else recipes.load(source)
    refuse.unfit(recipe, TASKS[recipe.task])
    folder = RunFolder.claim(recipe, resume=resume)
    try:
        with machine.working_on(recipe.threads), folder.locked():
            log = Logged(progress or Silent(), folder.path / LOG)
            if problem := machine.too_many(recipe.threads):
                log.warn(problem)
            return _Story(recipe, folder, log).tell()
    except KeyboardInterrupt:
        name = source if isinstance(source, str | Path) else folder.path / "recipe.yaml"
        raise Interrupted(
            "stopped; everything up to the last checkpoint is kept",
            cure=f"go on with: tutelage run {shlex.quote(str(name))} --resume",
        ) from None


class _Story:
    """One run. Each method is one stage: done before, or done now."""

    def __init__(self, recipe: Recipe, folder: RunFolder, progress: Logged) -> None:
        self.recipe, self.folder, self.progress = recipe, folder, progress
        folder.listen(progress)
        self.reading = reading(recipe.data.max_tokens, recipe.data.long_text)

    def tell(self) -> Run:
        self.progress.note("run", recipe=self.recipe.model_dump(mode="json"))
        if "bf16" in (self.recipe.teacher.precision, self.recipe.student.precision) and not has_units():
            self.progress.warn("This processor has no units for bf16 (AMX or AVX512-BF16): everything stays in fp32.")
        corpus = self._data()
        refuse.unfit(self.recipe, corpus.task)
        workshop = self._workshop(corpus)
        climb = Climb(workshop) if self.recipe.student.searches else None
        made, search = climb.find() if climb else (self._student(workshop), None)
        # Of a student that was not distilled there is nothing to compare.
        wanted = self.recipe.student.control and made.learned.trained
        control = self._control(workshop, made) if wanted else None
        repeats = seeds.repeats(workshop, made, control=control is not None)
        neighbours = sizes.neighbours(workshop, made, climb, search)
        curve = workshop.curve(made.learned) if self.recipe.student.draws_curve else None
        cast = proof.Cast(workshop, made, control, search, curve, repeats, neighbours)
        measurements = self._prove(cast)
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
        if (asked := self.recipe.teacher.zero_shot) is not None:
            corpus = Labelling(self.recipe, asked, self.folder, corpus, self.progress).labelled()
        else:
            self.folder.forget(LABELS)
        for warning in corpus.health.get("warnings", []):
            self.progress.warn(warning)
        return corpus

    def _workshop(self, corpus: Corpus) -> Workshop:
        """The teacher, and everything else that students are made from."""
        school = School(self.recipe, self.folder, corpus, self.reading, self.progress, self._check(corpus))
        name, teacher = school.teacher()
        # Of a teacher that is there already it was not asked yet whether this student can be made from it.
        refuse.shape(self.recipe, teacher.model)
        voices = Choir(self.recipe, self.folder, corpus, teacher, name, self.progress).voices()
        if self.recipe.student.balance == "given":
            self.folder.forget(Bench.balancing)
        threads = torch.get_num_threads()
        made = Workshop(self.recipe, self.folder, corpus, teacher, name, self.progress, threads, voices=voices)
        return assistant.follow(made)

    def _check(self, corpus: Corpus) -> Callable[[Network], None]:
        """Raises before a teacher is trained when the student cannot be made from it."""

        def check(teacher: Network) -> None:
            refuse.impossible(self.recipe, teacher, corpus)

        return check

    def _student(self, workshop: Workshop) -> Made:
        """Of the shape that was asked for."""
        shape, folder = refuse.shape(self.recipe, workshop.teacher.model), self.folder
        sizes.hear(workshop, shape)
        return workshop.make(self.recipe.student.training(), shape, Bench(folder.student, folder.export))

    def _control(self, workshop: Workshop, made: Made) -> Network | None:
        """None where its training failed: there is a student, and no reason to lose it."""
        try:
            return controls.make(workshop, made.learned, self.folder.control)
        except TrainingError as error:
            self.progress.warn(f"there is no control to compare with: {error}")
            return None

    def _prove(self, cast: proof.Cast) -> Measurements:
        """Measure every model on the same test rows, on this machine, in one go."""
        facts = cast.workshop.facts
        control = cast.control is not None
        # What disturbed the timing of a search is told, and no reason to measure again.
        search = cast.search and cast.search.model_dump(exclude={"tried": {"__all__": {"other_programs"}}})
        others = {name: split.fingerprint for name, split in cast.corpus.others.items()}
        # What the report says of the data, rows that were left out among it.
        more: list[Any] = [cast.corpus.health]
        more += [cast.curve.model_dump()] if cast.curve else []
        more += [others] if others else []
        # Kept out of what older figures are known by: a single seed and no neighbours leave it as it was.
        more += [["seeds", *(one.name for one in cast.repeats)]] if cast.repeats else []
        more += [["sizes", *(one.made.name for one in cast.neighbours)]] if cast.neighbours else []
        parts = [cast.made.name, control, self.recipe.evaluate.identity(), facts, search, *more]
        fingerprint = storage.fingerprint_of(*parts)
        if self.folder.done("evaluate", fingerprint, self.folder.measurements) is None:
            started = time.monotonic()
            measurements = proof.prove(cast, facts, self.progress)
            measurements.save(self.folder.measurements)
            self.folder.finish("evaluate", fingerprint, started=started)
        measurements = Measurements.load(self.folder.measurements)
        told = self.recipe.model_dump(mode="json")
        if measurements.recipe != told:
            # What changes no figure: where the folder is, above all. Page and card name it.
            measurements = measurements.model_copy(update={"recipe": told})
            measurements.save(self.folder.measurements)
        return measurements

    def _publish(self, cast: proof.Cast, measurements: Measurements) -> None:
        """The bundle with its card, and the page."""
        made = cast.made
        place = self.folder.bundle
        cast.workshop.pack(made.network, made.graph_file, place, made.graph.precision, card(measurements))
        page.write(measurements, self.folder.report)
