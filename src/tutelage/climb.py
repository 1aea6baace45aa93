"""Searching the cheapest student that reaches a goal: the ladder is climbed from the fastest shape up.

Each rung is trained, compressed and judged as it would be deployed, on rows kept aside for that: on validation, where
its epoch, its wide part and its gate were chosen, it would look better than it is. The first that surely keeps what was
asked for is taken. All rungs learn in the same way. Choosing it, training and compressing may take 1.5 times as long as
the teacher's own fine-tuning. What would take longer is trained for fewer epochs or left out, except the first rung,
which tells how long the others take, and the teacher itself, which needs no training.

Where the first good rung keeps more than was asked for, its wide part may answer alone more often, which costs of that
and is faster: such cascades are judged on the same rows, and the fastest that still keeps enough is taken.
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
from tutelage.made import Bench, Made
from tutelage.recipe import StudentRecipe
from tutelage.student import ladder
from tutelage.student.ladder import Rung
from tutelage.student.matching import Plan
from tutelage.tasks import Array
from tutelage.workshop import Workshop

_BUDGET = 1.5
# Fine-tuning reads forwards and backwards: three times the work of recording. For a teacher that needed no training.
_READINGS = 3.0
# What a cascade may cost of the validation score where there is something to spare.
_TO_SPARE = (0.01, 0.02)


@dataclass(frozen=True)
class _Candidate:
    """A rung as it may be deployed."""

    rung: Rung
    cascade_loss: float | None = None
    """None: as the recipe says."""

    @property
    def name(self) -> str:
        return self.rung.name if self.cascade_loss is None else f"{self.rung.name}, cascade {self.cascade_loss:g}"


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
        self._gated: list[Made] = []
        self._epochs: dict[str, int] = {}

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
            self._epochs = {tried.name.partition(",")[0]: tried.epochs for tried in search.tried if tried.epochs}
        taken = next(tried.name for tried in search.tried if tried.taken)
        candidates = [_Candidate(rung, loss) for rung in self._rungs().values() for loss in (None, *_TO_SPARE)]
        made = self._made.get(taken) or self._make(next(one for one in candidates if one.name == taken))
        return self._moved_in(made, taken), search

    def beside(self, search: Search) -> dict[str, Made]:
        """The rungs that cost a little less and a little more than the one that was taken; those not tried are made."""
        taken = next(tried.name.partition(",")[0] for tried in search.tried if tried.taken)
        costs: dict[str, float] = self.workshop.folder.kept("search plan")["costs"]
        order = sorted(costs, key=costs.__getitem__)
        place = order.index(taken)
        places = {"smaller": place - 1, "larger": place + 1}
        rungs = self._rungs()
        return {where: self._make(_Candidate(rungs[order[at]])) for where, at in places.items() if 0 <= at < len(order)}

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
            if step.rung.trains and not self._fits(step.rung) and any(self._fits(other.rung) for other in steps):
                size = self.workshop.beginning.least_bytes(step.rung.shape) / 1e6
                self._leave_out(step.rung, f"its weights alone would take about {size:.1f} MB")
                continue
            # The first tells how long the others take, and is tried whatever was spent before.
            late = step.rung.trains and bool(trained) and needed > left
            if late and not self._shortened(step.rung, left / needed):
                self._leave_out(step.rung, f"it would take about {needed:.0f} s, and {max(left, 0):.0f} s are left")
                continue
            tried = self._try(_Candidate(step.rung))
            if step.rung.trains:
                trained.append(step)
            if tried.within and tried.keeps:
                reached = self._faster(step.rung, tried).name
                break
        cascades = sum(self.workshop.folder.times().get(made.learned.bench.compressing, 0) for made in self._gated)
        spent = begun + sum(self._seconds(step.rung) for step in trained) + cascades
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
        rungs = {rung.name: rung for rung in ladder.rungs(self.settings, self.workshop.teacher.model.config)}
        if "one" in rungs and self._fits(rungs["one"]):
            rungs.pop("narrow", None)  # no faster, and keeps less
        return rungs

    def _fits(self, rung: Rung) -> bool:
        limit = self.settings.max_mb
        return limit is None or self.workshop.beginning.least_bytes(rung.shape) <= 1e6 * limit

    def _shortened(self, rung: Rung, share: float) -> bool:
        """Whether a rung fits into a share of its time when it is trained for fewer epochs, at least half of them."""
        epochs = int(self.settings.epochs * share)
        if self.settings.stages or epochs < self.settings.epochs / 2:
            return False
        self._epochs[rung.name] = epochs
        return True

    def _steps(self) -> list[_Step]:
        """The rungs by what they cost on this machine, measured untrained."""
        rungs = list(self._rungs().values())
        found = []
        with self.workshop.progress.bar("Timing the shapes of the ladder", len(rungs)) as bar:
            for rung in rungs:
                student = self.workshop.beginning.student(rung.shape)
                tokens = student.tokenize(self.rows.texts()[:128])
                found.append(_Step(rung, ladder.seconds_to_read(student, tokens)))
                bar.advance()
        return sorted(found, key=lambda step: step.cost)

    def _training(self, rung: Rung) -> StudentRecipe:
        settings = ladder.settings_for(rung, self.settings.training())
        epochs = self._epochs.get(rung.name)
        return settings if epochs is None else settings.model_copy(update={"epochs": epochs})

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

    def _make(self, candidate: _Candidate) -> Made:
        rung, signals = candidate.rung, getattr(self, "_signals", None)
        settings, bench = self._training(rung), self._bench(rung)
        made = self.workshop.make(settings, rung.shape, bench, signals=signals, trains=rung.trains)
        return made if candidate.cascade_loss is None else self.workshop.gate(made, candidate.cascade_loss) or made

    def _faster(self, rung: Rung, tried: Tried) -> Tried:
        """The fastest that is still good enough when the wide part answers more often, or what was tried."""
        best = tried
        if self.settings.keep is None or self.workshop.recipe.compress.cascade != "auto":
            return best
        for loss in _TO_SPARE:
            made = self.workshop.gate(self._made[rung.name], loss)
            if made is None:
                continue
            self._gated.append(made)
            other = self._try(_Candidate(rung, loss))
            if other.within and other.keeps and (other.rows_per_second or 0) > (best.rows_per_second or 0):
                best = other
        return best

    def _try(self, candidate: _Candidate) -> Tried:
        workshop, texts, rung = self.workshop, self.rows.texts(), candidate.rung
        made = self._made[candidate.name] = self._make(candidate)
        bundle = workshop.pack(made.network, made.graph_file, self.folder / rung.name / "bundle", made.graph.precision)
        kept = self._bootstrap.ratio(self._resampled(bundle.predictions(texts)), self._teacher)
        contender = Contender(candidate.name, "onnxruntime", speed.packed(bundle))
        found = speed.measure([contender], texts[: workshop.recipe.evaluate.speed_rows], progress=workshop.progress)
        fast, size = found[candidate.name, "onnxruntime"], storage.size_of(bundle.path)
        shutil.rmtree(bundle.path)
        within, keeps, verdict = self._verdict(kept.low, fast.p50, size)
        tried = self._tried[candidate.name] = Tried(
            name=candidate.name,
            describes=made.network.describe(made.graph.precision),
            retention=Interval(**kept.as_dict()),
            rows_per_second=fast.rows_per_second,
            latency_ms={"p50": fast.p50, "p95": fast.p95},
            bytes=size,
            seconds=round(self._seconds(rung), 1),
            epochs=self._epochs.get(rung.name),
            within=within,
            keeps=keeps,
            verdict=verdict,
        )
        workshop.progress.say(
            f"{candidate.name}: keeps {_percent(kept.value)}, at least {_percent(kept.low)}, "
            f"{fast.rows_per_second:,.0f} rows/s, {size / 1e6:.1f} MB: {verdict}"
        )
        return tried

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
