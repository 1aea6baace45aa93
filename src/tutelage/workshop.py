"""Making one student, from its start to the graph that is deployed; the story and the search both do it here."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tutelage import storage
from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.measurements import LearningCurve
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording, Signals
from tutelage.artifacts.voice import Speaker, Voice
from tutelage.beginning import Beginning
from tutelage.bundle.limits import Limits
from tutelage.bundle.predict import Bundle, load
from tutelage.bundle.write import write
from tutelage.compress import graph
from tutelage.compress.graph import Graph
from tutelage.evaluate import machine
from tutelage.folder import RunFolder
from tutelage.gather import STAGE as TEXTS
from tutelage.gather import Gathering
from tutelage.made import GATED, Bench, Learned, Made
from tutelage.progress import Logged
from tutelage.recipe import Precision, Recipe, StudentRecipe
from tutelage.student import balance, build, distil, learning_curve, matching, widen
from tutelage.student.build import Shape
from tutelage.student.distil import Transfer
from tutelage.student.matching import Plan
from tutelage.teacher import signals as recording
from tutelage.training import supervised
from tutelage.training.hope import Hope

# Bytes, about, of a bundle's card, limits and labels.
_PAGES = 20_000


class Workshop:
    """Everything that students are made from."""

    def __init__(  # noqa: PLR0917 - all of it is needed by every student
        self,
        recipe: Recipe,
        folder: RunFolder,
        corpus: Corpus,
        teacher: Network,
        teacher_name: str,
        progress: Logged,
        threads: int,
        *,
        voices: Sequence[Voice] = (),
    ) -> None:
        """`voices` speak with the teacher: students hear all of them, or somebody else (`hearing`)."""
        self.recipe, self.folder, self.corpus = recipe, folder, corpus
        self.teacher = teacher
        spoken = [voice.name for voice in voices]
        self.teacher_name = storage.fingerprint_of(teacher_name, spoken) if spoken else teacher_name
        self.speaker = Speaker(teacher, self.teacher_name, folder.signals, voices)
        self.progress, self.threads, self.facts = progress, threads, machine.describe(threads=threads)
        self.gathering = Gathering(recipe, folder, corpus, teacher, self.teacher_name, progress)
        self._splits: list[Split] | None = None
        self._heard: Signals | None = None
        self._transfers: dict[tuple[str, bool], Transfer] = {}

    def hearing(self, speaker: Speaker) -> Workshop:
        """The same, where students hear somebody else; what they begin as and which texts they read stays."""
        other = copy.copy(self)
        # Whatever the teacher has to say of the texts themselves is said by the teacher.
        other._splits = self.splits
        other.speaker, other.teacher_name = speaker, speaker.name
        other._heard, other._transfers = None, {}
        return other

    def read(self, gathering: Gathering) -> None:
        """Let students read other texts from now on."""
        self.gathering, self._splits, self._heard, self._transfers = gathering, None, None, {}
        self.__dict__.pop("beginning", None)

    @property
    def splits(self) -> list[Split]:
        """What a student reads."""
        return self._splits or self._gathered(self.recording([Plan()]))

    def _gathered(self, wanted: Recording) -> list[Split]:
        """The same; copies that are to be judged are recorded as everything else will be, once."""
        if self._splits is None:
            self._splits = self.gathering.splits(lambda splits: self._record(wanted, splits))
        return self._splits

    @cached_property
    def beginning(self) -> Beginning:
        """What students begin as."""
        return Beginning(self.recipe, self.teacher, self.corpus, self.splits, self.progress)

    def plan(self, settings: StudentRecipe, shape: Shape) -> Plan:
        """Which layers of whom it hears a student of some shape follows."""
        return matching.plan(settings, shape, build.shape_of(self.speaker.network.model.config))

    def recording(self, plans: Sequence[Plan]) -> Recording:
        """What must be recorded so that students can follow some plans."""
        width = build.shape_of(self.speaker.network.model.config).width
        return matching.together([plan.recording(self.teacher.task.width, width) for plan in plans])

    def signals(self, wanted: Recording) -> Signals:
        """What the teacher says of every text."""
        splits = self._gathered(wanted)
        started = time.monotonic()
        found, stage = self._record(wanted, splits), self.speaker.stage
        known = self.folder.done(stage, found.folder.name) is not None
        if found.written or not known:
            # What was there already took no time now, and counts with the time that it did take.
            before = self.folder.times().get(stage, 0.0) if known else 0.0
            self.folder.finish(stage, found.folder.name, started=started - found.earlier - before)
        self._heard = found
        return found

    def _hear(self, plan: Plan) -> Signals:
        """The same, at least as much of it as a student needs that follows a plan."""
        wanted = self.recording([plan])
        # What was heard for several students is more than one needs, and asking for less would be asking anew.
        known = self._heard is not None and wanted.within(self._heard.recording)
        return self._heard if self._heard is not None and known else self.signals(wanted)

    def curve(self, learned: Learned) -> LearningCurve:
        """How much more text would help."""
        name = storage.fingerprint_of("curve", self.teacher_name, self.gathering.name, self.recipe.seed)
        kept = self.folder.done("learning curve", name)
        if kept is None:
            told = self._hear(self.plan(learned.settings, learned.shape) if learned.trained else Plan())
            started, validation = time.monotonic(), self.corpus["validation"]
            found = learning_curve.measure(
                self.teacher, self.splits, told, validation, seed=self.recipe.seed, progress=self.progress
            )
            kept = self.folder.finish("learning curve", name, started=started, curve=found)
        return LearningCurve.model_validate(kept["curve"])

    def _record(self, wanted: Recording, splits: list[Split]) -> Signals:
        wanted = replace(wanted, precision=self.recipe.teacher.precision)
        who = self.speaker
        return recording.record(
            who.network, splits, wanted, folder=who.signals, progress=self.progress, voices=who.voices
        )

    def make(self, settings: StudentRecipe, shape: Shape, bench: Bench, **more: Any) -> Made:
        """A student of some shape, distilled, widened and compressed; whatever is already there is not done again."""
        return self.compress(self.learn(settings, shape, bench, **more))

    def learn(
        self,
        settings: StudentRecipe,
        shape: Shape,
        bench: Bench,
        *,
        signals: Signals | None = None,
        trains: bool = True,
        hope: Hope | None = None,
    ) -> Learned:
        """A student of some shape, distilled and widened, or the teacher's layers as they are.

        `signals` hold at least what this shape matches; without them they are recorded. Training ends early when `hope`
        is lost; such a student is another artifact, which only the same hope finds again.
        """
        if trains and settings.balance == "auto":
            # Recorded for what the recipe asks, so that another way to learn finds what it needs there.
            signals = signals or self._hear(self.plan(settings, shape))
            settings = settings.model_copy(update=self.way(settings, shape, signals, stage=bench.balancing))
        name = self._named(settings, shape, bench, trains=trains)
        given_up = storage.fingerprint_of(name, "given up", vars(hope)) if hope else name
        kept = self.folder.done(bench.learning, name, bench.student, other=given_up)
        if kept is None:
            kept = self._learn(settings, shape, bench, (name, given_up), signals, trains=trains, hope=hope)
        name = given_up if kept.get("given_up") else name
        network = Network.load(bench.student, self.corpus.task, self.teacher.reading)
        return Learned(name, network, shape, bench, kept, settings, trains)

    def has(self, settings: StudentRecipe, shape: Shape, bench: Bench) -> bool:
        """Whether a student that learns in a settled way has learned already."""
        name = self._named(settings, shape, bench, trains=True)
        return self.folder.done(bench.learning, name, bench.student) is not None

    def _named(self, settings: StudentRecipe, shape: Shape, bench: Bench, *, trains: bool) -> str:
        seed = [] if bench.seed is None else [bench.seed]
        return storage.fingerprint_of(*self._made_from(settings, shape), trains, self.beginning.coded(shape), *seed)

    def _made_from(self, settings: StudentRecipe, shape: Shape) -> list[Any]:
        texts = [self.gathering.name] if self.gathering.name else []
        return [self.teacher_name, settings.identity(), shape.identity(), *texts]

    def way(self, settings: StudentRecipe, shape: Shape, signals: Signals, *, stage: str = "balance") -> dict[str, Any]:
        """What changes in the settings where the recipe leaves open how to learn."""
        if settings.balance == "given":
            return {}
        name = storage.fingerprint_of(*self._made_from(settings, shape))
        kept = self.folder.done(stage, name)
        if kept is None:
            started, student = time.monotonic(), self.beginning.student(shape)
            told = self._told(self.plan(settings, shape), signals)
            transfer = self._transfer(student, told)
            validation = self.corpus["validation"]
            judges = balance.judges(self.recipe, self.splits)
            screened = balance.screen(
                student, transfer, told, validation, settings, judges=judges, progress=self.progress
            )
            way, choice = balance.decide(student.task, screened, guessed=self.recipe.teacher.zero_shot is not None)
            kept = self.folder.finish(stage, name, started=started, way=dict(way.settings), choices=[choice])
        return {**kept["way"], "balance": "given"}

    def _told(self, plan: Plan, signals: Signals | None) -> Signals:
        """What the teacher says, for a student that follows a plan."""
        wanted, heard = self.recording([plan]), signals or self._hear(plan)
        # Heard before for something else, they are a part of what is made of them now as well.
        self.folder.uses(*([TEXTS] if self.gathering.name else []), self.speaker.stage)
        return heard.only(wanted.layers, wanted.channels)

    def _transfer(self, student: Network, told: Signals) -> Transfer:
        """What every student learns from: they share one tokenizer, so that texts are read once."""
        key = (told.folder.name, bool(told.recording.channels))
        if key not in self._transfers:
            self._transfers[key] = distil.transfer_set(student, self.splits, told)
        return self._transfers[key]

    def _learn(
        self,
        settings: StudentRecipe,
        shape: Shape,
        bench: Bench,
        names: tuple[str, str],
        signals: Signals | None,
        *,
        trains: bool,
        hope: Hope | None,
    ) -> dict[str, Any]:
        """`names`: of the student that has learned to the end, and of one that was given up."""
        plan = self.plan(settings, shape) if trains else Plan()
        told = self._told(plan, signals)
        started = time.monotonic()
        student = self.beginning.student(shape, bench.seed)
        transfer = self._transfer(student, told)
        history: list[dict[str, float]] = []
        begun = time.monotonic()
        if trains:
            history = distil.distil(
                student,
                transfer,
                told,
                self.corpus["validation"],
                settings,
                seed=self.recipe.seed if bench.seed is None else bench.seed,
                folder=self.folder.training / bench.learning,
                progress=self.progress,
                plan=plan,
                hope=hope,
            ).history
        else:
            supervised.finish(student, self.corpus["validation"])
        training = max(time.monotonic() - begun, self.folder.trained(bench.learning))
        given_up = hope is not None and hope.lost(history)
        student, choice = widen.widen(
            student,
            transfer.tokens,
            transfer.targets,
            self.corpus["validation"],
            said=lambda rows: told.outputs(transfer.signal_rows[rows], transfer.keys[rows]),
            among=transfer.once,
            wanted=settings.wide,
            progress=self.progress,
        )
        student.save(bench.student)
        more: dict[str, Any] = {"training": round(training, 2)} if trains else {}
        more |= {"given_up": True} if given_up else {}
        choices = [choice] if choice else []
        return self.folder.finish(
            bench.learning, names[given_up], started=started, history=history, choices=choices, **more
        )

    def compress(self, learned: Learned) -> Made:
        """The student as the graph that will be deployed."""
        bench, limit = learned.bench, self.recipe.student.max_mb
        limited = [] if limit is None else [limit]
        name = storage.fingerprint_of(learned.name, self.recipe.compress.identity(), self.facts, *limited)
        kept = self.folder.done(bench.compressing, name, bench.export)
        if kept is None or not (bench.export / kept["file"]).is_file():
            started = time.monotonic()
            made = graph.make(
                learned.network,
                self.corpus["validation"],
                self.recipe.compress,
                folder=bench.export,
                threads=self.threads,
                progress=self.progress,
                # Beside the graph lie the tokenizer and some pages.
                most_bytes=None if limit is None else 1e6 * limit - learned.network.tokenizer_bytes - _PAGES,
            )
            kept = self.folder.finish(bench.compressing, name, started=started, **made.as_dict())
        return Made(learned, Graph(**{**kept, "choices": tuple(kept["choices"])}), name)

    def gate(self, made: Made, cascade_loss: float, *, middle: Made | None = None) -> Made | None:
        """The same student with a cascade that may cost so much of the validation score; None where none pays.

        `middle` is a cheaper student that answers before it does.
        """
        at = made.learned.bench
        way = f"{cascade_loss:g}" + (f" after {middle.learned.bench.learning}" if middle else "")
        place, stage = at.export.with_name(f"cascade {way}"), f"{at.compressing}{GATED}{way}"
        name = storage.fingerprint_of(made.name, cascade_loss, *([middle.name] if middle else []))
        kept = self.folder.done(stage, name, place)
        if kept is None or not (kept["found"] is None or (place / kept["found"]["file"]).is_file()):
            started = time.monotonic()
            found = graph.gated(
                made.graph,
                at.export,
                made.network,
                self.corpus["validation"],
                self.recipe.compress.model_copy(update={"cascade_loss": cascade_loss}),
                folder=place,
                threads=self.threads,
                middle=middle.ungated if middle else None,
            )
            kept = self.folder.finish(stage, name, started=started, found=found.as_dict() if found else None)
        if kept["found"] is None:
            return None
        found = Graph(**{**kept["found"], "choices": tuple(kept["found"]["choices"])})
        learned = replace(made.learned, bench=replace(at, export=place, compressing=stage))
        return Made(learned, found, name, cascade_loss, middle)

    def pack(self, network: Network, graph: Path, place: Path, precision: Precision, card: str = "draft") -> Bundle:
        """A bundle around a graph, as it is deployed; the same for a teacher that is only compared."""
        read, data = network.reading, self.recipe.data
        limits = Limits(
            max_tokens=read.max_tokens,
            long_text=read.long_text,
            stride=read.stride,
            characters_per_token=read.characters_per_token,
            plain=read.plain,
            max_characters=data.max_characters,
            normalise=data.normalise,
            pad_id=network.pad,
            precision=precision,
        )
        tokenizer = network.tokenizer.backend_tokenizer.to_str()
        write(place, onnx_file=graph, tokenizer=tokenizer, task=network.task, limits=limits, card=card)
        return load(place, threads=self.threads)
