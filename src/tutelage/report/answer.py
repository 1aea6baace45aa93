"""The answer first: what was kept, what was won, whether distillation was worth it, in plain sentences."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.artifacts.measurements import BUSY, Interval, Measurements
from tutelage.report import number, seeds, sizes
from tutelage.report.comparison import spelled


@dataclass(frozen=True)
class Phrase:
    """A piece of a sentence: `strong` is a figure that a hurried reader looks for, `faint` is its interval."""

    text: str
    strong: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Tile:
    """One figure with its caption and where it comes from."""

    caption: str
    figure: str
    interval: str
    note: str


@dataclass(frozen=True)
class Verdict:
    """What distillation added: `kind` is better, same, worse or unknown."""

    kind: str
    title: str
    sentence: str


def headline(measurements: Measurements) -> list[Phrase]:
    """The one sentence at the top, in pieces."""
    metric = measurements.metric(measurements.headline)
    title = lowered(metric.title)
    kept = measurements.retention
    if kept is not None and kept.value is not None:
        interval = number.interval(kept, number.SHARE)
        pieces = [
            Phrase("The student keeps "),
            Phrase(number.percent(kept.value), strong=True),
            *_faint(interval),
            Phrase(f" of the teacher’s {title}"),
        ]
    else:
        score = _score(measurements, "student")
        pieces = [
            Phrase(f"The student’s {title} is "),
            Phrase(number.score(score.value, metric), strong=True),
            *_faint(number.interval(score, metric)),
        ]
    wins = _wins(measurements)
    for position, win in enumerate(wins):
        first = " and is " if len(wins) == 1 else ", is "
        pieces += [Phrase(" and " if position else first), *win]
    return [*pieces, Phrase(".")]


def sentence(measurements: Measurements) -> str:
    """The headline as plain text."""
    return "".join(phrase.text for phrase in headline(measurements))


def verdict(measurements: Measurements) -> Verdict:
    """Whether distillation beat the same student trained on the labels alone, as far as the interval says."""
    metric = measurements.metric(measurements.headline)
    gain, of_seeds, more = _gain(measurements)
    if gain is None or gain.value is None:
        return Verdict(
            "unknown",
            "No control was trained",
            "Without the same student trained on the labels alone, nothing says what distillation added.",
        )
    title = lowered(metric.title)
    figure = f"{number.difference(gain.value, metric)} {number.interval(gain, metric)}".rstrip()
    if gain.low is None or gain.high is None:
        return Verdict("unknown", "The gain has no interval", f"Distillation changed the {title} by {figure}.")
    low, high = (gain.low, gain.high) if metric.higher_is_better else (-gain.high, -gain.low)
    if low > 0:
        return Verdict(
            "better",
            "Distillation helped",
            f"{figure} in {title} over the same student trained on the labels alone{of_seeds}; "
            "the whole interval is on the good side of zero.",
        )
    if high < 0:
        return Verdict(
            "worse",
            "Distillation did not help",
            f"{figure} in {title} against the same student trained on the labels alone{of_seeds}, which does better. "
            "The control is the one to use, or the teacher the one to mend.",
        )
    return Verdict(
        "same",
        "No difference shown",
        f"Distillation changed the {title} by {figure} over the same student trained on the labels alone{of_seeds}. "
        f"The interval includes zero: more {more} would be needed to tell.",
    )


def beside(measurements: Measurements) -> list[str]:
    """What other trainings and other sizes gave, as far as they were tried, a sentence each."""
    return [told for told in (seeds.sentence(measurements), *sizes.sentences(measurements)) if told]


def _gain(measurements: Measurements) -> tuple[Interval | None, str, str]:
    """By distilling: over all seeds where there are several; how that is told; and what more of would tell."""
    over = measurements.seeds
    if over is None or over.against_control is None:
        return measurements.against_control, "", "test rows"
    return over.against_control, f", on average over {len(over.runs)} seeds", "seeds or test rows"


def doubt(measurements: Measurements) -> str:
    """A sentence when the teacher is not surely better than one answer for all; empty otherwise."""
    teacher, guessing = _score(measurements, "teacher"), measurements.guessing
    metric = measurements.metric(measurements.headline)
    worst = teacher.low if metric.higher_is_better else teacher.high
    if guessing is None or worst is None or teacher.value is None:
        return ""
    if worst > guessing if metric.higher_is_better else worst < guessing:
        return ""
    reached = f"{number.score(teacher.value, metric)} {number.interval(teacher, metric)}".rstrip()
    return (
        f"It reaches {reached}, and whoever answers every row alike {number.score(guessing, metric)}: a share of that "
        "says nothing. It needs more rows, more epochs, or another `teacher.model`."
    )


def caution(measurements: Measurements) -> str:
    """A sentence when the plain baseline is as good as the student; empty otherwise."""
    student, baseline = _score(measurements, "student"), _score(measurements, "baseline")
    if student.value is None or baseline.value is None:
        return ""
    metric = measurements.metric(measurements.headline)
    ahead = baseline.value >= student.value if metric.higher_is_better else baseline.value <= student.value
    if not ahead:
        return ""
    title = measurements.models["baseline"].title or "baseline"
    reached = f"{number.score(baseline.value, metric)} {number.interval(baseline, metric)}".rstrip()
    return f"The {title} reaches {reached}, no worse than the student: it may be all you need."


def disturbed(measurements: Measurements) -> str:
    """A sentence when other programs used a noticeable share of the machine during the timing; empty otherwise."""
    share = measurements.other_programs
    if share is None or share <= BUSY:
        return ""
    used = f"{100 * share:.0f}{number.SPACE}%"
    return (
        f"Other programs used {used} of the machine’s cores while speeds were measured: measure again on a quiet "
        "machine before you rely on a speed or a ratio (delete measurements.json, then run the recipe again)."
    )


def tiles(measurements: Measurements) -> list[Tile]:
    """Up to four figures; those that were not measured are left out."""
    metric = measurements.metric(measurements.headline)
    title = lowered(metric.title)
    student, teacher = _score(measurements, "student"), _score(measurements, "teacher")
    found = []
    kept, speedup = measurements.retention, measurements.speedup
    gain, of_seeds, _ = _gain(measurements)
    if kept is not None and kept.value is not None:
        note = f"{number.score(student.value, metric)} of {number.score(teacher.value, metric)} {title}"
        found.append(Tile("kept", number.percent(kept.value), number.interval(kept, number.SHARE), note))
    else:
        interval = number.interval(student, metric)
        found.append(Tile(title, number.score(student.value, metric), interval, "student, on the test rows"))
    if speedup is not None and speedup.value is not None:
        told = f"{spelled(speedup.of)} over {spelled(speedup.over)}"
        note = told if speedup.of and speedup.over else "rows per second"
        found.append(Tile(*_factor(speedup.value, "faster", "slower"), "", note))
    if measurements.smaller is not None:
        sizes = [
            number.megabytes(measurements.models[role].bytes)
            for role in ("student", "teacher")
            if role in measurements.models
        ]
        found.append(Tile(*_factor(measurements.smaller, "smaller", "larger"), "", " instead of ".join(sizes)))
    if gain is not None and gain.value is not None:
        figure, interval = number.difference(gain.value, metric), number.interval(gain, metric)
        found.append(Tile("by distilling", figure, interval, f"over the same student on labels alone{of_seeds}"))
    return found


def _score(measurements: Measurements, role: str) -> Interval:
    model = measurements.models.get(role)
    return (model.scores.get(measurements.headline) if model else None) or Interval()


def _wins(measurements: Measurements) -> list[list[Phrase]]:
    found = []
    if measurements.speedup is not None and measurements.speedup.value is not None:
        found.append(_factor(measurements.speedup.value, "faster", "slower"))
    if measurements.smaller is not None:
        found.append(_factor(measurements.smaller, "smaller", "larger"))
    return [[Phrase(figure, strong=True), Phrase(f" {caption}")] for caption, figure in found]


def _faint(interval: str) -> list[Phrase]:
    return [Phrase(" "), Phrase(interval, faint=True)] if interval else []


def _factor(value: float, more: str, less: str) -> tuple[str, str]:
    """(caption, figure); a factor below one is told as the opposite's."""
    if value >= 1 or value <= 0:
        return more, number.times(value)
    return less, number.times(1 / value)


def lowered(title: str) -> str:
    """A metric's title inside a sentence: accuracy, but F1 and Pearson's r stay."""
    first = title.split(maxsplit=1)[0] if title.strip() else ""
    return title[0].lower() + title[1:] if first.lower() in _COMMON else title


_COMMON = {"accuracy", "precision", "recall", "log-loss", "calibration", "mean", "root", "exact"}
