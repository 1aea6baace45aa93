"""All figures of a run, put together as `Measurements`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.measurements import (
    VERSION,
    Choice,
    Disagreement,
    Interval,
    LearningCurve,
    Measurements,
    MetricInfo,
    ModelMeasurements,
    OtherMeasurements,
    PanelData,
    Search,
    Seeds,
    Size,
    Speedup,
)
from tutelage.evaluate import speed
from tutelage.evaluate.intervals import Bootstrap, Resampled
from tutelage.evaluate.levels import Levels
from tutelage.evaluate.memory import Footprint
from tutelage.evaluate.speed import Contender, Run, Speed
from tutelage.progress import Progress
from tutelage.recipe import Recipe
from tutelage.tasks import Array, Task
from tutelage.version import __version__

_EXAMPLES = 20
_SHOWN_CHARACTERS = 4_000


@dataclass(frozen=True)
class Player:
    """A model that takes part: how it answers, and what it weighs."""

    title: str
    describes: str
    predict: Callable[[list[str]], Array]
    runs: Mapping[str, Run]
    """By runtime: what is timed."""
    deployed_in: str
    """The runtime it would be used in: its latency is shown, and its rate makes the speed-up."""
    parameters: int
    size: int
    """Bytes on disk of what would be deployed."""
    footprint: Callable[[list[str]], Footprint | None] | None = None
    batches: Sequence[int] = speed.BATCHES
    """Padded tokens in a batch to choose from; (0,) for what knows no batches."""
    levels: Callable[[list[str]], Levels | None] = lambda _: None
    """Who answers in a graph of several levels."""


@dataclass(frozen=True)
class Candidate:
    """A player after its turn."""

    player: Player
    predictions: Array
    speeds: Mapping[str, Speed]
    footprint: Footprint | None
    levels: Levels | None = None

    @property
    def rate(self) -> float:
        """Rows a second in the runtime it would be used in."""
        return self.speeds[self.player.deployed_in].rows_per_second


@dataclass(frozen=True)
class Examined:
    """All players after their turn."""

    candidates: dict[str, Candidate]
    other_programs: float | None
    """What others used of all cores while they were timed."""


def examine(players: Mapping[str, Player], texts: list[str], *, speed_rows: int, progress: Progress) -> Examined:
    """Let all players answer all texts, then time them in turns on some of them."""
    predictions, footprints = {}, {}
    with progress.bar("Answering the test rows", len(players)) as bar:
        for name, player in players.items():
            predictions[name] = player.predict(texts)
            bar.advance()
    some = speed.spread(texts, speed_rows)
    contenders = [
        Contender(name, runtime, run, player.batches)
        for name, player in players.items()
        for runtime, run in player.runs.items()
    ]
    timed = speed.measure(contenders, some, progress=progress)
    with progress.bar("Measuring memory", len(players)) as bar:
        for name, player in players.items():
            footprints[name] = player.footprint(some) if player.footprint else None
            bar.advance()
    candidates = {
        name: Candidate(
            player,
            predictions[name],
            {runtime: timed.speeds[name, runtime] for runtime in player.runs},
            footprints[name],
            player.levels(texts),
        )
        for name, player in players.items()
    }
    return Examined(candidates, timed.other_programs)


@dataclass(frozen=True)
class Scored:
    """Every candidate on the same rows, and the comparisons between them."""

    models: dict[str, ModelMeasurements]
    comparisons: dict[str, Interval]


def score(
    task: Task, candidates: Mapping[str, Candidate], targets: NDArray[np.float64], bootstrap: Bootstrap
) -> Scored:
    """Scores with intervals, and the student's paired comparisons with each of the others."""
    resampled = {
        name: bootstrap.scores(task.metrics, candidate.predictions, targets) for name, candidate in candidates.items()
    }
    models = {
        name: _model(task, candidate, targets, bootstrap.intervals(resampled[name]))
        for name, candidate in candidates.items()
    }
    headline = {name: scores[task.headline.name] for name, scores in resampled.items()}
    return Scored(models, _comparisons(headline, bootstrap))


def _comparisons(headline: Mapping[str, Resampled], bootstrap: Bootstrap) -> dict[str, Interval]:
    student = headline["student"]
    found = {"retention": bootstrap.ratio(student, headline["teacher"])}
    for other in ("control", "baseline"):
        if other in headline:
            found[f"against_{other}"] = bootstrap.difference(student, headline[other])
    return {name: Interval(**interval.as_dict()) for name, interval in found.items()}


def _model(
    task: Task, candidate: Candidate, targets: NDArray[np.float64], scores: dict[str, dict[str, float]]
) -> ModelMeasurements:
    speeds, player = candidate.speeds, candidate.player
    latency = speeds[player.deployed_in]
    more: dict[str, Any] = {}
    if candidate.footprint is not None:
        more["peak_memory_mb"] = candidate.footprint.peak_mb
        more["first_answer_seconds"] = candidate.footprint.first_answer_seconds
    latencies: dict[str, float | None] = {"p50": latency.p50, "p95": latency.p95}
    if candidate.levels is not None:
        more["answered"] = list(candidate.levels.shares)
        latencies |= {"mean": candidate.levels.mean, "through_all": candidate.levels.worst}
    return ModelMeasurements(
        title=player.title,
        describes=player.describes,
        scores={name: Interval(**figures) for name, figures in scores.items()},
        parameters=player.parameters,
        bytes=player.size,
        rows_per_second={runtime: speed.rows_per_second for runtime, speed in speeds.items()},
        batch_size={runtime: speed.batch_tokens for runtime, speed in speeds.items()},
        latency_ms=latencies,
        panels=[PanelData(**asdict(panel)) for panel in task.panels(candidate.predictions, targets)],
        **more,
    )


def disagreements(
    task: Task,
    texts: Sequence[str],
    targets: NDArray[np.float64],
    *,
    teacher: Array,
    student: Array,
) -> list[Disagreement]:
    """The test rows on which a user would see the student differ from its teacher, furthest apart first."""
    distance = task.disagreement(student, teacher)
    order = np.argsort(-distance, kind="stable")[:_EXAMPLES]
    chosen = [int(row) for row in order if distance[row] > 0]
    said, wanted = task.decode(student[chosen]), task.decode(teacher[chosen])
    return [
        Disagreement(
            text=_shortened(texts[row]),
            label=task.show_target(float(targets[row])),
            teacher=task.show(wanted[place]),
            student=task.show(said[place]),
            distance=float(distance[row]),
        )
        for place, row in enumerate(chosen)
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 2]} …"


def assemble(
    corpus: Corpus,
    candidates: Mapping[str, Candidate],
    scored: Scored,
    *,
    recipe: Recipe,
    machine: dict[str, Any],
    choices: list[dict[str, Any]],
    times: dict[str, float],
    history: dict[str, list[dict[str, float]]],
    warnings: list[str],
    other_programs: float | None = None,
    search: Search | None = None,
    others: Sequence[OtherMeasurements] = (),
    curve: LearningCurve | None = None,
    seeds: Seeds | None = None,
    sizes: Sequence[Size] = (),
) -> Measurements:
    """Everything, in the shape of `measurements.json`."""
    task, test = corpus.task, corpus["test"]
    teacher, student = candidates["teacher"], candidates["student"]
    return Measurements(
        schema=VERSION,
        tutelage=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        task=task.name,
        headline=task.headline.name,
        metrics=[
            MetricInfo(
                name=metric.name,
                title=metric.title,
                higher_is_better=metric.higher_is_better,
                percent=metric.percent,
            )
            for metric in task.metrics
        ],
        machine=machine,
        seed=recipe.seed,
        confidence=recipe.evaluate.confidence,
        resamples=recipe.evaluate.resamples,
        models=scored.models,
        guessing=task.guessing(test.targets),
        speedup=Speedup(
            value=student.rate / teacher.rate,
            of=f"student in {student.player.deployed_in}",
            over=f"teacher in {teacher.player.deployed_in}",
        ),
        other_programs=other_programs,
        smaller=teacher.player.size / student.player.size,
        choices=[Choice(**choice) for choice in choices],
        disagreements=disagreements(
            task, test.texts(), test.targets, teacher=teacher.predictions, student=student.predictions
        ),
        data=dict(corpus.health),
        times=times,
        history=history,
        recipe=recipe.model_dump(mode="json"),
        warnings=warnings,
        search=search,
        others=list(others),
        learning_curve=curve,
        seeds=seeds,
        sizes=list(sizes),
        **scored.comparisons,
    )
