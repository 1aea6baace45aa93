"""What another size would give: neighbours of the student on the same rows, timed in the same turns."""

from __future__ import annotations

from collections.abc import Mapping

from tutelage.artifacts.measurements import Interval, Size
from tutelage.evaluate.intervals import Bootstrap
from tutelage.evaluate.measure import Candidate
from tutelage.tasks import Array, Task


def score(
    task: Task,
    neighbours: Mapping[str, Candidate],
    *,
    student: Candidate,
    teacher: Candidate,
    targets: Array,
    bootstrap: Bootstrap,
) -> list[Size]:
    """Each neighbour by where it stands, with its paired difference from the student that is deployed."""
    if not neighbours:
        return []
    headline = task.headline.name
    own, full = (
        bootstrap.scores((task.headline,), candidate.predictions, targets)[headline] for candidate in (student, teacher)
    )
    found = []
    for where, candidate in neighbours.items():
        player, speed = candidate.player, candidate.speeds[candidate.player.deployed_in]
        scores = bootstrap.scores(task.metrics, candidate.predictions, targets)
        found.append(
            Size(
                where=where,
                describes=player.describes,
                scores={name: Interval(**figures) for name, figures in bootstrap.intervals(scores).items()},
                retention=Interval(**bootstrap.ratio(scores[headline], full).as_dict()),
                against_student=Interval(**bootstrap.difference(scores[headline], own).as_dict()),
                parameters=player.parameters,
                bytes=player.size,
                rows_per_second=speed.rows_per_second,
                latency_ms={"p50": speed.p50, "p95": speed.p95},
                speedup=speed.rows_per_second / student.rate,
                smaller=student.player.size / player.size,
            )
        )
    return found
