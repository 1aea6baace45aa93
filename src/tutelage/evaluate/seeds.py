"""What distillation gains and a student keeps whatever the seed: every training on the same rows, and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.artifacts.measurements import Interval, SeedMeasurements, Seeds
from tutelage.evaluate import intervals
from tutelage.evaluate.intervals import Bootstrap, Resampled
from tutelage.tasks import Array, Task


@dataclass(frozen=True)
class Trained:
    """A student from one seed and its control: what they say of the test rows."""

    seed: int
    name: str
    """Changes whenever anything that it was made from does."""
    describes: str
    student: Array
    """Predictions of the deployed student, as `Task.predict` gives them."""
    control: Array | None


def score(task: Task, trained: Sequence[Trained], teacher: Array, targets: Array, bootstrap: Bootstrap) -> Seeds:
    """Each of at least two seeds beside teacher and control, and the means over all."""

    def headline(predictions: Array) -> Resampled:
        return bootstrap.scores((task.headline,), predictions, targets)[task.headline.name]

    reference, runs, kept, gained = headline(teacher), [], [], []
    for one in trained:
        student = headline(one.student)
        control = None if one.control is None else headline(one.control)
        kept.append(intervals.ratio(student, reference))
        if control is not None:
            gained.append(intervals.difference(student, control))
        runs.append(
            SeedMeasurements(
                seed=one.seed,
                describes=one.describes,
                student=_told(bootstrap, student),
                control=None if control is None else _told(bootstrap, control),
                retention=Interval(**bootstrap.ratio(student, reference).as_dict()),
                against_control=None if control is None else _told(bootstrap, gained[-1]),
            )
        )
    return Seeds(
        runs=runs,
        retention=Interval(**bootstrap.mean(kept).as_dict()),
        against_control=Interval(**bootstrap.mean(gained).as_dict()) if gained else None,
    )


def _told(bootstrap: Bootstrap, figure: Resampled) -> Interval:
    return Interval(**bootstrap.interval(figure).as_dict())
