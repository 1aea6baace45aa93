"""Searching the cheapest student that reaches a goal: the ladder is climbed from the fastest up.

Each rung is trained, compressed and judged as it would be deployed, on rows that it has not learned from (`trial.py`).
The first that surely keeps what was asked for is taken. All rungs learn in the same way. Choosing it, training and
compressing may take `search_time` as long as the teacher's own fine-tuning. What would take longer is trained for fewer
epochs or left out, except the first rung that is trained, which tells how long the others take, and what needs no
training: the linear student and the teacher itself. A rung that lies hopelessly behind on validation is not trained to
its end; one whose training fails has lost, and the others go on. Of many unlabelled texts a part must do
(`portion.py`); then those that may reach the goal learn once more, from all, the cheapest first, and where none does,
the next larger one, for which there was no time.

Where the first good rung keeps more than was asked for, what is cheaper may answer alone more often, which costs of
that and is faster: such cascades are judged on the same rows, and the fastest that still keeps enough is taken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence

from tutelage import outlay, portion, storage
from tutelage.artifacts.measurements import Search, Tried
from tutelage.artifacts.signals import Signals
from tutelage.budget import Estimate, Spent
from tutelage.errors import TrainingError
from tutelage.gather import Gathering
from tutelage.made import GATED, Bench, Made
from tutelage.recipe import StudentRecipe
from tutelage.student import ladder, stages
from tutelage.student.ladder import Rung, Step
from tutelage.student.matching import Plan
from tutelage.training import supervised
from tutelage.training.hope import Hope
from tutelage.trial import JUDGES, Candidate, Judge, value
from tutelage.workshop import Workshop

STAGE = "search"
# What a cascade may cost of the validation score where there is something to spare.
_TO_SPARE = (0.01, 0.02)


class Climb:
    """One search."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop, self.settings = workshop, workshop.recipe.student
        self.folder = workshop.folder.search
        self._tried: dict[str, Tried] = {}
        self._made: dict[str, Made] = {}
        self._lost = 0.0
        """Seconds of trainings that failed."""
        self._failure: TrainingError | None = None
        self._epochs: dict[str, int] = {}
        self._again = False
        """Whether students read all texts now, once more."""

    def find(self) -> tuple[Made, Search]:
        """The student to deploy, and every rung that was looked at."""
        portion.limit(self.workshop)
        folder = self.workshop.folder
        fingerprint = self._fingerprint()
        steps, allowed = self._plan(fingerprint)
        self._judge = Judge(self.workshop, self.settings, students=sum(self._fits(step.rung) for step in steps))
        self._balance(steps)
        kept = folder.done(STAGE, fingerprint, self.folder)
        if kept is None:
            started = time.monotonic()
            search = self._climb(steps, allowed)
            folder.finish(STAGE, fingerprint, started=started, search=search.model_dump())
        else:
            search = Search.model_validate(kept["search"])
            self._epochs = {tried.name: tried.epochs for tried in search.tried if tried.epochs}
        search = self._once_more(search)
        taken = next(tried for tried in search.tried if tried.taken)
        made = self._made.get(taken.name) or self._make(
            next(one for one in self._candidates() if one.name == taken.name)
        )
        if made.learned.kept.get("given_up") and not search.reached:
            # It is delivered for want of a better one: then as good as it can be, and as long trained as its control.
            self.workshop.progress.say(
                f"{taken.name}: given up before, and now trained to its end, for it is delivered"
            )
            try:
                made = self.to_its_end(self._rungs()[taken.rung])
            except TrainingError as error:
                self.workshop.progress.warn(f"{taken.name} stays as it was when it was given up: {error}")
        return self._moved_in(made, taken.name), search

    def _once_more(self, search: Search) -> Search:
        """The search with those that learned once more, from texts that it had no time for; where any is left."""
        workshop, rungs, part = self.workshop, self._rungs(), self.workshop.gathering
        if part.fits is None:
            return search
        search = search.model_copy(update={"texts": part.fits.share})
        if not (likely := [rungs[name] for name in portion.likely(search) if self._would_learn(search, rungs[name])]):
            return search
        self._turn_to(part.of(None), again=True)
        stage, fingerprint = f"{STAGE}, all texts", storage.fingerprint_of(self._fingerprint(), search.model_dump())
        kept = workshop.folder.done(stage, fingerprint)
        if kept is None:
            started, tried = time.monotonic(), []
            for rung in likely:
                workshop.progress.say(f"{rung.name}: learns once more, from all texts")
                found = self._attempt(Candidate(rung, again=True))
                if found is None:
                    continue
                tried.append(Step(rung, 0.0, 0.0))
                if found.within and found.keeps:
                    self._faster(found, tried)
                if found.within and value(found) >= (search.keep or 1.0):
                    # Sure of it, or as near to that as so few rows allow: then nothing is to spare.
                    break
            told = portion.told(search, [one for one in self._tried.values() if one.again]).model_dump()
            kept = workshop.folder.finish(stage, fingerprint, started=started, search=told)
        search = Search.model_validate(kept["search"])
        if not next(tried for tried in search.tried if tried.taken).again:
            self._turn_to(part, again=False)
        return search

    def _would_learn(self, search: Search, rung: Rung) -> bool:
        """Whether more texts without a label would tell a rung more than it knows, or it was not tried."""
        settings, tried = self._training(rung), any(one.rung == rung.name and one.retention for one in search.tried)
        return not rung.trains or settings.hears_teacher or settings.r_drop > 0 or not tried

    def _turn_to(self, texts: Gathering, *, again: bool) -> None:
        """Let students read other texts."""
        self.workshop.read(texts)
        self._again = again
        self._signals = self._heard_by(self._rungs().values())

    def beside(self, search: Search) -> dict[str, Rung]:
        """The rungs that cost a little less and a little more than the one that was taken."""
        taken = next(tried.rung for tried in search.tried if tried.taken)
        costs: dict[str, list[float]] = self.workshop.folder.kept("search plan")["costs"]
        order = sorted(costs, key=costs.__getitem__)
        place = order.index(taken)
        places = {"smaller": place - 1, "larger": place + 1}
        rungs = self._rungs()
        return {where: rungs[order[at]] for where, at in places.items() if 0 <= at < len(order)}

    def to_its_end(self, rung: Rung) -> Made:
        """A rung that is not given up; one that was stays beside it, as it was judged. Made, if it was not tried."""
        bench, place = self._bench(rung), self.workshop.folder.sizes / rung.name
        if self.workshop.folder.kept(bench.learning).get("given_up"):
            names = (f"{bench.learning}, to its end", f"{bench.compressing}, to its end")
            bench = Bench(place / "student", place / "export", *names)
        settings = self._training(rung)
        return self.workshop.make(settings, rung.shape, bench, signals=self._signals, trains=rung.trains)

    def _fingerprint(self) -> str:
        """Changes with whatever could change the search, the machine included: it goes by measured speed."""
        recipe, facts = self.workshop.recipe, self.workshop.facts
        evaluate = (recipe.evaluate.resamples, recipe.evaluate.speed_rows)
        student = self.settings.model_copy(update={"control": True}).identity()
        parts = [self.workshop.teacher_name, student, recipe.compress.model_dump(), evaluate, recipe.seed, facts]
        parts.append((self.settings.search_time, list(self._rungs()), JUDGES, "together"))
        texts = self.workshop.gathering.name
        return storage.fingerprint_of(*parts, *([texts] if texts else []))

    def _balance(self, steps: Sequence[Step]) -> None:
        """All rungs learn in the way that suits the first."""
        first = next((step.rung for step in steps if step.rung.trains), None)
        if first is not None:
            way = self.workshop.way(self._training(first), first.shape, self._signals)
            self.settings = self.settings.model_copy(update=way)
        else:
            self.workshop.folder.forget(Bench.balancing)

    def _climb(self, steps: Sequence[Step], allowed: float) -> Search:
        tried, reached = list[Step](), None
        for step in steps:
            why_not = self._why_not(step, steps, tried, allowed)
            if why_not:
                self._leave_out(step.rung, why_not)
                continue
            found = self._attempt(Candidate(step.rung))
            if found is None:
                continue
            tried.append(step)
            if found.within and found.keeps:
                reached = self._faster(found, tried, allowed).name
                break
        if self._failure and not any(step.rung.trains for step in tried):
            raise self._failure
        return self._judge.conclude(self._tried.values(), reached, allowed=allowed, seconds=self._spent(tried))

    def _why_not(self, step: Step, steps: Sequence[Step], tried: Sequence[Step], allowed: float) -> str:
        """Why a rung is left out, or nothing; the epochs that it has time for are noted."""
        rung, trained = step.rung, [other for other in tried if other.rung.trains]
        # What is too large is made only where nothing smaller is there to be delivered.
        smaller = [other for other in steps if other.rung.shape.layers and self._fits(other.rung)]
        delivered = smaller if rung.trains else [one for one in self._tried.values() if one.within]
        if delivered and not self._fits(rung):
            return f"its weights alone would take about {self.workshop.beginning.least_bytes(rung.shape) / 1e6:.1f} MB"
        if not rung.trains or not trained:
            return ""  # the first that is trained tells how long the others take
        left, wanted = max(allowed - self._spent(tried), 0.0), stages.together(self._training(rung)).epochs
        needs = Estimate.by([self._took(other) for other in trained], step.learning)
        epochs = needs.epochs_in(left, wanted=wanted)
        if epochs < wanted and (self.settings.stages or epochs < wanted / 2):
            return f"it would take about {needs.seconds(wanted):.0f} s, and {left:.0f} s are left"
        if epochs < wanted:
            self._epochs[rung.name] = epochs
        return ""

    def _plan(self, fingerprint: str) -> tuple[list[Step], float]:
        """The order of the rungs and the seconds that the search may take; the same when a search goes on."""
        folder, rungs = self.workshop.folder, self._rungs()
        self._signals = self._heard_by(rungs.values())
        kept = folder.done("search plan", fingerprint)
        if kept is None:
            started = time.monotonic()
            timed = outlay.timed(self.workshop, rungs.values(), self._followed, self.settings)
            costs = {step.rung.name: [step.cost, step.learning] for step in timed}
            allowed = outlay.allowed(self.workshop, self.settings.search_time)
            score = supervised.score(self.workshop.teacher, self.workshop.corpus["validation"])
            more = {"costs": costs, "allowed": allowed, "teacher": score}
            kept = folder.finish("search plan", fingerprint, started=started, **more)
        self._reference = float(kept["teacher"])
        steps = [Step(rungs[name], *costs) for name, costs in kept["costs"].items()]
        return sorted(steps, key=lambda step: step.cost), float(kept["allowed"])

    def _heard_by(self, rungs: Iterable[Rung]) -> Signals:
        """What the teacher says of every text, as much as any of some rungs follows."""
        return self.workshop.signals(self.workshop.recording([Plan(), *map(self._followed, rungs)]))

    def _followed(self, rung: Rung) -> Plan:
        """Which of the teacher's layers a rung follows."""
        return self.workshop.plan(self._training(rung), rung.shape) if rung.trains else Plan()

    def _rungs(self) -> dict[str, Rung]:
        return outlay.rungs(self.workshop, self.settings)

    def _fits(self, rung: Rung) -> bool:
        return outlay.fits(self.workshop, self.settings, rung)

    def _training(self, rung: Rung) -> StudentRecipe:
        settings = ladder.settings_for(rung, self.settings.training())
        epochs = None if self._again else self._epochs.get(rung.name)
        return settings if epochs is None else settings.model_copy(update={"epochs": epochs})

    def _hope(self, rung: Rung) -> Hope | None:
        """What the layers must come near to on validation, where a share of the teacher's score is asked for."""
        keep, settings = self.settings.keep, self._training(rung)
        ascending = self.workshop.corpus.task.headline.higher_is_better
        parts = settings.stages or settings.growth
        if self._again or keep is None or not rung.trains or parts or not ascending or self._reference <= 0:
            return None
        return Hope(keep * self._reference, settings.epochs)

    def _took(self, step: Step) -> Spent:
        bench, folder = self._bench(step.rung), self.workshop.folder
        times = folder.times()
        return Spent.of(folder.kept(bench.learning), times[bench.learning], times[bench.compressing], step.learning)

    def _spent(self, tried: Sequence[Step]) -> float:
        """Seconds of the search so far: choosing how to learn, every rung, also what failed, and every cascade."""
        times = self.workshop.folder.times()
        gates = sum(seconds for stage, seconds in times.items() if stage.startswith("compress ") and GATED in stage)
        rungs = sum(self._bench(step.rung).seconds(times) for step in tried)
        return times.get("balance", 0.0) + rungs + self._lost + gates

    def _bench(self, rung: Rung) -> Bench:
        name = Candidate(rung, again=self._again).name
        place = self.folder / name
        return Bench(place / "student", place / "export", f"student {name}", f"compress {name}")

    def _make(self, candidate: Candidate) -> Made:
        rung, signals = candidate.rung, getattr(self, "_signals", None)
        made = self._made.get(Candidate(rung, again=candidate.again).name)
        if made is None:
            settings, bench, hope = self._training(rung), self._bench(rung), self._hope(rung)
            made = self.workshop.make(settings, rung.shape, bench, signals=signals, trains=rung.trains, hope=hope)
        if candidate.cascade_loss is None:
            return made
        middle = self._make(Candidate(candidate.middle, again=candidate.again)) if candidate.middle else None
        return self.workshop.gate(made, candidate.cascade_loss, middle=middle) or made

    def _candidates(self) -> Iterator[Candidate]:
        """Whoever may have been taken."""
        rungs = list(self._rungs().values())
        for rung in rungs:
            yield Candidate(rung, again=self._again)
            for middle in (None, *rungs):
                yield from (Candidate(rung, loss, middle, self._again) for loss in self._losses(middle))

    def _losses(self, middle: Rung | None) -> tuple[float, ...]:
        # Without anyone in the middle, the smallest was tried with the rung itself.
        return (self.workshop.recipe.compress.cascade_loss, *_TO_SPARE) if middle else _TO_SPARE

    def _faster(self, found: Tried, tried: Sequence[Step], allowed: float = math.inf) -> Tried:
        """The fastest that is still good enough when what is cheaper answers more often, or what was found."""
        best, rung, compress = found, tried[-1].rung, self.workshop.recipe.compress
        if self.settings.keep is None or compress.cascade != "auto" or not rung.shape.layers:
            return best
        trained = [step.rung for step in tried[:-1] if step.rung.trains]
        for middle in (None, *(trained if compress.cascade_levels > 2 else ())):
            for loss in self._losses(middle):
                if middle and self._spent(tried) >= allowed:
                    break
                candidate = Candidate(rung, loss, middle, self._again)
                made = self._make(candidate)
                if made.cascade_loss != loss:
                    continue
                other = self._try(candidate, made)
                if other.within and other.keeps and (other.rows_per_second or 0) > (best.rows_per_second or 0):
                    best = other
        return best

    def _attempt(self, candidate: Candidate) -> Tried | None:
        """A rung before its judge; None where its training failed, which is told of it among the others."""
        started = time.monotonic()
        try:
            return self._try(candidate)
        except TrainingError as error:
            self._failure = error
            self._lost += outlay.lost(self.workshop.folder, self._bench(candidate.rung), self._fingerprint(), started)
            self._tried[candidate.name] = Tried(name=candidate.name, verdict=f"failed: {error.given}")
            self.workshop.progress.warn(f"{candidate.name} failed, and the search goes on without it: {error}")
            return None

    def _try(self, candidate: Candidate, made: Made | None = None) -> Tried:
        rung = candidate.rung
        made = self._made[candidate.name] = made or self._make(candidate)
        kept = made.learned.kept
        tried = self._tried[candidate.name] = self._judge.tried(
            candidate.name,
            made,
            self._bench(rung).export.with_name("bundle"),
            seconds=round(self._bench(rung).seconds(self.workshop.folder.times()), 1),
            epochs=None if self._again else self._epochs.get(rung.name),
            given_up_after=len(kept["history"]) if kept.get("given_up") else None,
        )
        return tried

    def _leave_out(self, rung: Rung, why: str) -> None:
        self._tried[rung.name] = Tried(name=rung.name, verdict=f"not tried: {why}", late=self._fits(rung))
        self.workshop.progress.say(f"{rung.name}: not tried, {why}")

    def _moved_in(self, made: Made, rung: str) -> Made:
        """The winner where every run keeps its student."""
        folder = self.workshop.folder
        if folder.done("student", made.name, folder.student) is None or folder.done("compress", made.name) is None:
            started = time.monotonic()
            storage.copy_folder(made.learned.bench.student, folder.student)
            folder.finish("student", made.name, started=started, rung=rung, **made.learned.kept)
            folder.finish("compress", made.name, started=started, **made.graph.as_dict())
        return made
