"""Searching the cheapest student that reaches a goal: the ladder is climbed from the fastest shape up.

Each rung is trained, compressed and judged as it would be deployed, on rows kept aside for that: on validation, where
its epoch, its wide part and its gate were chosen, it would look better than it is. The first that surely keeps what was
asked for is taken. All rungs learn in the same way. Choosing it, training and compressing may take 1.5 times as long as
the teacher's own fine-tuning. What would not fit is left out, except the first rung, which tells how long the others
take, and the teacher itself, which needs no training.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tutelage import storage
from tutelage.artifacts.measurements import Interval, Search, Tried
from tutelage.evaluate import machine, speed
from tutelage.evaluate.intervals import Bootstrap, Resampled
from tutelage.evaluate.speed import Contender
from tutelage.recipe import StudentRecipe
from tutelage.student import ladder
from tutelage.student.ladder import Rung
from tutelage.student.matching import Plan
from tutelage.tasks import Array
from tutelage.workshop import Bench, Made, Workshop

_BUDGET = 1.5
# Fine-tuning reads forwards and backwards: three times the work of recording. For a teacher that needed no training.
_READINGS = 3.0


@dataclass(frozen=True)
class _Step:
    rung: Rung
    cost: float
    """Seconds to read some rows, before training."""


class Climb:
    """One search."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop, self.settings = workshop, workshop.recipe.student
        self.rows = workshop.corpus["judge"]
        self.folder = workshop.folder.search
        recipe = workshop.recipe
        self._bootstrap = Bootstrap(
            len(self.rows),
            resamples=recipe.evaluate.resamples,
            confidence=2 * self.settings.keep_confidence - 1,
            seed=recipe.seed,
        )
        self._tried: dict[str, Tried] = {}
        self._made: dict[str, Made] = {}

    def find(self) -> tuple[Made, Search]:
        """The student to deploy, and every rung that was looked at."""
        folder = self.workshop.folder
        fingerprint = self._fingerprint()
        steps, allowed = self._plan(fingerprint)
        self._balance(steps)
        kept = folder.done("search", fingerprint, self.folder)
        if kept is None:
            started = time.monotonic()
            search = self._climb(steps, allowed)
            folder.finish("search", fingerprint, started=started, search=search.model_dump())
        else:
            search = Search.model_validate(kept["search"])
        taken = next(tried.name for tried in search.tried if tried.taken)
        made = self._made.get(taken) or self._make(self._rungs()[taken])
        return self._moved_in(made, taken), search

    def _fingerprint(self) -> str:
        """Changes with whatever could change the search, the machine included: it goes by measured speed."""
        recipe, facts = self.workshop.recipe, machine.describe(threads=self.workshop.threads)
        evaluate = (recipe.evaluate.resamples, recipe.evaluate.speed_rows)
        student = self.settings.model_copy(update={"control": True}).identity()
        parts = [self.workshop.teacher_name, student, recipe.compress.model_dump(), evaluate, recipe.seed, facts]
        texts = self.workshop.gathering.name
        return storage.fingerprint_of(*parts, *([texts] if texts else []))

    def _balance(self, steps: Sequence[_Step]) -> None:
        """All rungs learn in the way that suits the first."""
        first = next((step.rung for step in steps if step.rung.trains), None)
        if first is not None:
            way = self.workshop.way(self._training(first), first.shape, self._signals)
            self.settings = self.settings.model_copy(update=way)

    def _climb(self, steps: Sequence[_Step], allowed: float) -> Search:
        self._teacher = self._resampled(self.workshop.teacher.predictions(self.rows.texts()))
        trained: list[_Step] = []
        reached = None
        begun = self.workshop.folder.times().get("balance", 0.0)
        for step in steps:
            left = allowed - begun - sum(self._seconds(other.rung) for other in trained)
            needed = self._needed(step, trained)
            if step.rung.trains and needed > left:
                self._leave_out(step.rung, f"it would take about {needed:.0f} s, and {max(left, 0):.0f} s are left")
                continue
            tried = self._try(step.rung)
            if step.rung.trains:
                trained.append(step)
            if tried.within and tried.keeps:
                reached = tried.name
                break
        spent = begun + sum(self._seconds(step.rung) for step in trained)
        return self._search(reached, allowed, spent)

    def _plan(self, fingerprint: str) -> tuple[list[_Step], float]:
        """The order of the rungs and the seconds that their training may take; the same when a search goes on."""
        folder, rungs = self.workshop.folder, self._rungs()
        plans = [self.workshop.plan(self._training(rung), rung.shape) for rung in rungs.values() if rung.trains]
        self._signals = self.workshop.signals(self.workshop.recording([Plan(), *plans]))
        kept = folder.done("search plan", fingerprint)
        if kept is None:
            started, times = time.monotonic(), folder.times()
            costs = {step.rung.name: step.cost for step in self._steps()}
            allowed = _BUDGET * max(times.get("teacher", 0.0), _READINGS * times.get("signals", 0.0))
            kept = folder.finish("search plan", fingerprint, started=started, costs=costs, allowed=allowed)
        steps = [_Step(rungs[name], cost) for name, cost in kept["costs"].items()]
        return sorted(steps, key=lambda step: step.cost), float(kept["allowed"])

    def _rungs(self) -> dict[str, Rung]:
        return {rung.name: rung for rung in ladder.rungs(self.settings, self.workshop.teacher.model.config)}

    def _steps(self) -> list[_Step]:
        """The rungs by what they cost on this machine, measured untrained."""
        rungs = list(self._rungs().values())
        found = []
        with self.workshop.progress.bar("Timing the shapes of the ladder", len(rungs)) as bar:
            for rung in rungs:
                student = self.workshop.start(rung.shape)
                tokens = student.tokenize(self.rows.texts()[:128])
                found.append(_Step(rung, ladder.seconds_to_read(student, tokens)))
                bar.advance()
        return sorted(found, key=lambda step: step.cost)

    def _training(self, rung: Rung) -> StudentRecipe:
        return ladder.settings_for(rung, self.settings.training())

    def _seconds(self, rung: Rung) -> float:
        """What training and compressing a rung took, when it was done."""
        times, bench = self.workshop.folder.times(), self._bench(rung)
        return times[bench.learning] + times[bench.compressing]

    def _needed(self, step: _Step, trained: Sequence[_Step]) -> float:
        """Seconds that a rung would take, judged by the slowest so far for its size; 0 for the first."""
        times = self.workshop.folder.times()
        return max(
            (
                times[self._bench(other.rung).learning] * step.cost / other.cost
                + times[self._bench(other.rung).compressing]
                for other in trained
            ),
            default=0.0,
        )

    def _bench(self, rung: Rung) -> Bench:
        place = self.folder / rung.name
        return Bench(place / "student", place / "export", f"student {rung.name}", f"compress {rung.name}")

    def _make(self, rung: Rung) -> Made:
        signals = getattr(self, "_signals", None)
        settings, bench = self._training(rung), self._bench(rung)
        return self.workshop.make(settings, rung.shape, bench, signals=signals, trains=rung.trains)

    def _try(self, rung: Rung) -> Tried:
        workshop, texts = self.workshop, self.rows.texts()
        made = self._made[rung.name] = self._make(rung)
        bundle = workshop.pack(made.network, made.graph_file, self.folder / rung.name / "bundle", made.graph.precision)
        kept = self._bootstrap.ratio(self._resampled(bundle.predictions(texts)), self._teacher)
        contender = Contender(rung.name, "onnxruntime", speed.packed(bundle))
        found = speed.measure([contender], texts[: workshop.recipe.evaluate.speed_rows], progress=workshop.progress)
        fast, size = found[rung.name, "onnxruntime"], storage.size_of(bundle.path)
        shutil.rmtree(bundle.path)
        within, keeps, verdict = self._verdict(kept.low, fast.p50, size)
        self._tried[rung.name] = Tried(
            name=rung.name,
            describes=made.network.describe(made.graph.precision),
            retention=Interval(**kept.as_dict()),
            rows_per_second=fast.rows_per_second,
            latency_ms={"p50": fast.p50, "p95": fast.p95},
            bytes=size,
            seconds=round(self._seconds(rung), 1),
            within=within,
            keeps=keeps,
            verdict=verdict,
        )
        workshop.progress.say(
            f"{rung.name}: keeps {_percent(kept.value)}, at least {_percent(kept.low)}, "
            f"{fast.rows_per_second:,.0f} rows/s, {size / 1e6:.1f} MB: {verdict}"
        )
        return self._tried[rung.name]

    def _verdict(self, low: float, latency: float, size: int) -> tuple[bool, bool, str]:
        """(within the limits, keeps enough, what to say)."""
        settings, problems = self.settings, []
        if settings.max_latency_ms is not None and latency > settings.max_latency_ms:
            problems.append(f"{latency:.2f} ms is more than {settings.max_latency_ms:g}")
        if settings.max_mb is not None and size > 1e6 * settings.max_mb:
            problems.append(f"{size / 1e6:.1f} MB is more than {settings.max_mb:g}")
        within = not problems
        # Without a share to keep there is no first good one: all are tried and the best is taken.
        keeps = settings.keep is not None and low >= settings.keep
        if settings.keep is not None and not keeps:
            problems.append(f"it does not surely keep {_percent(settings.keep)}")
        return within, keeps, "; ".join(problems) or "good enough"

    def _leave_out(self, rung: Rung, why: str) -> None:
        self._tried[rung.name] = Tried(name=rung.name, verdict=f"not tried: {why}")
        self.workshop.progress.say(f"{rung.name}: not tried, {why}")

    def _search(self, reached: str | None, allowed: float, seconds: float) -> Search:
        """The first that is good enough, or the best within the limits, or the best of all."""
        judged = [tried for tried in self._tried.values() if tried.retention is not None]
        within = [tried for tried in judged if tried.within]
        best = max(within or judged, key=lambda tried: (tried.retention and tried.retention.value) or 0.0)
        taken = reached or best.name
        settings = self.settings
        ok = reached is not None or (settings.keep is None and bool(within))
        tried = [one.model_copy(update={"taken": one.name == taken}) for one in self._tried.values()]
        return Search(
            keep=settings.keep,
            confidence=settings.keep_confidence,
            max_latency_ms=settings.max_latency_ms,
            max_mb=settings.max_mb,
            reached=ok,
            seconds=round(seconds, 1),
            allowed_seconds=round(allowed, 1),
            tried=tried,
        )

    def _resampled(self, predictions: Array) -> Resampled:
        headline = self.workshop.corpus.task.headline
        return self._bootstrap.scores((headline,), predictions, self.rows.targets)[headline.name]

    def _moved_in(self, made: Made, rung: str) -> Made:
        """The winner where every run keeps its student."""
        folder = self.workshop.folder
        if folder.done("student", made.name, folder.student) is None or folder.done("compress", made.name) is None:
            started = time.monotonic()
            _copy(made.learned.bench.student, folder.student)
            folder.finish("student", made.name, started=started, rung=rung, **made.learned.kept)
            folder.finish("compress", made.name, started=started, **made.graph.as_dict())
        return made


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _copy(source: Path, goal: Path) -> None:
    with storage.whole_folder(goal) as partial:
        shutil.copytree(source, partial, dirs_exist_ok=True)
