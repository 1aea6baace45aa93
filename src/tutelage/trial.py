"""One student of a search before its judge: as it would be deployed, on rows that no student has learned from.

By default more than half of them nothing else has seen (`data.judge_share`). The others are those of validation, by
which a student's epoch, its wide part, its precision and its gate were chosen, and its teacher's epoch: it may look a
little better on them than it is. Without them there would be so few that chance misleads more (docs/decisions/0016).
Of several students on the same rows the first that looks good enough is one that was lucky; so what is asked for must
hold with the confidence asked for of all that may be looked at, not of each (docs/decisions/0021).
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tutelage import storage
from tutelage.artifacts.corpus import Corpus, Split, join
from tutelage.artifacts.measurements import AGAIN, BUSY, Interval, Search, Tried
from tutelage.evaluate import speed
from tutelage.evaluate.intervals import Bootstrap, Resampled, ratio, unseen
from tutelage.evaluate.speed import Contender
from tutelage.made import Made
from tutelage.recipe import StudentRecipe
from tutelage.student.ladder import Rung
from tutelage.tasks import Array
from tutelage.workshop import Workshop

JUDGES = ("judge", "validation")
# Bytes of a model card, about, which only a finished run has; a limit on megabytes holds with it.
_CARD = 6_000
# Resamples beyond a bound, at least: with fewer it would hang on the luck of the draw.
_IN_TAIL = 20


@dataclass(frozen=True)
class Candidate:
    """A rung as it may be deployed."""

    rung: Rung
    cascade_loss: float | None = None
    """None: as the recipe says."""
    middle: Rung | None = None
    """Who answers between the wide part and the rung."""
    again: bool = False
    """Whether they have learned once more, from all texts."""

    @property
    def name(self) -> str:
        rung = self.rung.name + (AGAIN if self.again else "")
        if self.cascade_loss is None:
            return rung
        through = f" after {self.middle.name}" if self.middle else ""
        return f"{rung}{through}, cascade {self.cascade_loss:g}"


def judging(corpus: Corpus) -> Split:
    """The rows by which students are judged."""
    return join("judging", [corpus[name] for name in JUDGES])


@dataclass(frozen=True)
class Surely:
    """Lower bounds of several students that hold together with some confidence (Bonferroni)."""

    confidence: float
    students: int
    rows: int
    """By how many they are judged."""

    @property
    def tail(self) -> float:
        """How often the bound of one of them may fail."""
        return (1 - self.confidence) / self.students

    @property
    def resamples(self) -> int:
        """So many at least, that some lie in that tail."""
        return math.ceil(_IN_TAIL / self.tail)

    def low(self, one: Resampled, other: Resampled, *, itself: bool = False) -> float:
        """How much of `other` is kept by `one` at least; nothing where that is nowhere defined.

        `itself`: one is the other, written otherwise; what it answers alike it does not answer alike by chance.
        """
        samples = ratio(one, other).samples
        finite = samples[np.isfinite(samples)]
        if not len(finite):
            return 0.0
        low = float(np.quantile(finite, self.tail))
        if finite.min() >= 1.0 and not itself:
            # No row was lost, of however few: no resample says less than 1, and that is not to be sure.
            low -= unseen(self.rows, self.tail) / other.value if other.value > 0 else low
        return max(low, 0.0)


class Judge:
    """Says what a student keeps, how fast and how large it is, and whether that is good enough."""

    def __init__(self, workshop: Workshop, settings: StudentRecipe, *, students: int) -> None:
        """`students`: how many may be looked at, from the ladder; variants of one, much alike, do not count."""
        self.workshop, self.settings = workshop, settings
        rows, recipe = judging(workshop.corpus), workshop.recipe
        self.texts, self._targets = rows.texts(), rows.targets
        self._sure = Surely(settings.keep_confidence, max(students, 1), len(self.texts))
        self._bootstrap = Bootstrap(
            len(self.texts),
            resamples=max(recipe.evaluate.resamples, self._sure.resamples),
            confidence=2 * settings.keep_confidence - 1,
            seed=recipe.seed,
        )

    @cached_property
    def _teacher(self) -> Resampled:
        return self._resampled(self.workshop.teacher.predictions(self.texts))

    def tried(self, name: str, made: Made, place: Path, **more: object) -> Tried:
        """Pack a student at `place` for a moment, and judge it; `more` is told of it as it is."""
        workshop, texts = self.workshop, self.texts
        bundle = workshop.pack(made.network, made.graph_file, place, made.graph.precision)
        said = self._resampled(bundle.predictions(texts))
        kept = self._bootstrap.ratio(said, self._teacher)
        # What was not trained is the teacher, or has no layers and learned what it knows beside it.
        itself = not made.learned.trained and made.network.layers > 0
        surely = self._sure.low(said, self._teacher, itself=itself)
        contender = Contender(name, "onnxruntime", speed.packed(bundle))
        some = speed.spread(texts, workshop.recipe.evaluate.speed_rows)
        timed = speed.measure([contender], some, progress=workshop.progress)
        fast, size = timed.speeds[name, "onnxruntime"], storage.size_of(bundle.path) + _CARD
        shutil.rmtree(bundle.path)
        within, keeps, verdict = self._verdict(surely, fast.p50, size)
        workshop.progress.say(
            f"{name}: keeps {percent(kept.value)}, surely {percent(surely)}, "
            f"{fast.rows_per_second:,.0f} rows/s, {size / 1e6:.1f} MB: {verdict}"
            f"{_beside(timed.other_programs)}"
        )
        return Tried.model_validate(
            {
                "name": name,
                "describes": made.network.describe(made.graph.precision),
                "retention": Interval(**kept.as_dict()),
                "surely": surely,
                "rows_per_second": fast.rows_per_second,
                "latency_ms": {"p50": fast.p50, "p95": fast.p95},
                "other_programs": timed.other_programs,
                "bytes": size,
                "within": within,
                "keeps": keeps,
                "verdict": verdict,
                **more,
            }
        )

    def conclude(self, tried: Iterable[Tried], reached: str | None, *, allowed: float, seconds: float) -> Search:
        """The first that is good enough (`reached`), or the next best."""
        every, settings = list(tried), self.settings
        judged = [one for one in every if one.retention is not None]
        taken = reached or next_best(judged, settings.keep).name
        within = any(one.within for one in judged)
        return Search(
            keep=settings.keep,
            confidence=settings.keep_confidence,
            max_latency_ms=settings.max_latency_ms,
            max_mb=settings.max_mb,
            reached=reached is not None or (settings.keep is None and within),
            seconds=round(seconds, 1),
            allowed_seconds=round(allowed, 1),
            tried=[one.model_copy(update={"taken": one.name == taken}) for one in every],
        )

    def _verdict(self, low: float, latency: float, size: int) -> tuple[bool, bool, str]:
        """(within the limits, keeps enough, what to say)."""
        settings, problems = self.settings, []
        if settings.max_latency_ms is not None and latency > settings.max_latency_ms:
            problems.append(f"{latency:.2f} ms is more than {settings.max_latency_ms:g}")
        if settings.max_mb is not None and size > 1e6 * settings.max_mb:
            problems.append(f"{size / 1e6:.3f} MB is more than {settings.max_mb:g}")
        within = not problems
        # Without a share to keep there is no first good one: all are tried and the best is taken.
        keeps = settings.keep is not None and low >= settings.keep
        if settings.keep is not None and not keeps:
            told, wanted = percent(low), percent(settings.keep)
            problems.append(f"it surely keeps {told if told != wanted else 'a little less'}, not {wanted}")
        return within, keeps, "; ".join(problems) or "good enough"

    def _resampled(self, predictions: Array) -> Resampled:
        headline = self.workshop.corpus.task.headline
        return self._bootstrap.scores((headline,), predictions, self._targets)[headline.name]


def _beside(share: float | None) -> str:
    """What disturbed the timing, if anything did."""
    if share is None or share <= BUSY:
        return ""
    return f"; other programs used {percent(share)} of the machine's cores while it was timed"


def next_best(judged: Sequence[Tried], keep: float | None) -> Tried:
    """Whom to take of those that were judged, the cheapest first, when nobody surely keeps enough.

    The fastest that does more likely than not. Without any, the largest that is not surely worse than what looks best:
    a few hundred rows tell differences of a point or two only (docs/decisions/0015).
    """
    likely = [one for one in judged if keep is not None and one.within and value(one) >= keep]
    if likely:
        return max(likely, key=lambda one: one.rows_per_second or 0.0)
    within = [one for one in judged if one.within] or list(judged)
    best = max(within, key=value)
    least = (best.retention and best.retention.low) or 0.0
    return [one for one in within if one is best or value(one) >= least][-1]


def value(tried: Tried) -> float:
    """The share that it probably keeps."""
    return (tried.retention and tried.retention.value) or 0.0


def percent(share: float) -> str:
    """For the screen."""
    return f"{100 * share:.1f} %"
