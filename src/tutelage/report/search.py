"""How the student was found: every rung that was looked at, the cheapest first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tutelage.artifacts.measurements import BUSY, Measurements, Search, Tried
from tutelage.report import number
from tutelage.report.charts import log_ticks
from tutelage.report.plot import COLOURS, draw


@dataclass(frozen=True)
class Row:
    """One rung, ready to be shown."""

    name: str
    describes: str
    kept: str
    interval: str
    rate: str
    latency: str
    slowest: str
    size: str
    verdict: str
    taken: bool


def goal(search: Search) -> str:
    """What was asked for, in a few words."""
    parts = []
    if search.keep is not None:
        parts.append(f"keeps {number.percent(search.keep)} with {number.percent(search.confidence)} confidence")
    if search.max_latency_ms is not None:
        parts.append(f"answers one text in {search.max_latency_ms:g}{number.SPACE}ms")
    if search.max_mb is not None:
        parts.append(f"takes at most {search.max_mb:g}{number.SPACE}MB")
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def missed(measurements: Measurements) -> str:
    """A sentence for the top of the page where nothing reached the goal; empty otherwise."""
    search = measurements.search
    if search is None or search.reached:
        return ""
    return f"None of the students that were tried is one that {goal(search)}. {_instead(search)}"


def _instead(search: Search, more: str = "") -> str:
    """What was taken when nothing surely reached the goal, and why that one."""
    judged = [one for one in search.tried if one.retention is not None and one.retention.value is not None]
    taken = next((one for one in judged if one.taken), None)
    others = [one for one in judged if one is not taken and (taken is None or one.within >= taken.within)]
    if taken is None:
        return f"This is the best of them{more}."
    mine, read = _share(taken), ", and has read all texts" if taken.again else ""
    if search.keep is not None and taken.within and mine >= search.keep:
        faster = [one for one in others if (one.rows_per_second or 0.0) > (taken.rows_per_second or 0.0)]
        if any(_share(one) >= search.keep for one in faster):
            return f"This one probably does{read}{more}."
        return f"This is the fastest of those that probably do{more}."
    best = max([taken, *others], key=_share)
    if _share(best) <= mine:
        return f"This is the best of them{more}."
    if taken.again:
        return f"This one has read all texts, and is not surely worse than what was found before{more}."
    return f"This is the largest of those that are not surely worse than the best{more}."


def _share(tried: Tried) -> float:
    return (tried.retention and tried.retention.value) or 0.0


def continued(measurements: Measurements) -> bool:
    """Whether the student was given up while it was tried, and trained to its end before it was delivered."""
    taken = next((one for one in measurements.search.tried if one.taken), None) if measurements.search else None
    epochs = len(measurements.history.get("student", []))
    return taken is not None and taken.given_up_after is not None and epochs > taken.given_up_after


def sentence(measurements: Measurements) -> str:
    """Whether the goal was reached, and what the search took."""
    search = measurements.search
    if search is None:
        return ""
    best = "the best" if search.keep is None else "the first on a ladder, from the fastest shape up,"
    wanted = f"The student was found for a goal: {best} that {goal(search)}."
    if not search.reached:
        ended = ", and was trained to its end after it was judged" if continued(measurements) else ""
        wanted = f"No student was found for the goal: one that {goal(search)}. {_instead(search, ended)}"
    took = f" Making them took {number.seconds(search.seconds)} of {number.seconds(search.allowed_seconds)} allowed."
    took = took if search.seconds is not None and search.allowed_seconds is not None else ""
    again = any(tried.again for tried in search.tried)
    if search.texts is not None:
        took += (
            f" The rungs read {number.percent(search.texts)} of the unlabelled texts, for which there was time"
            f"{'; those called “all texts” then learned once more, from all of them' if again else ''}."
        )
    return f"{wanted}{took}{_disturbed(search)}"


def _disturbed(search: Search) -> str:
    most = max((tried.other_programs or 0.0 for tried in search.tried), default=0.0)
    if most <= BUSY:
        return ""
    return (
        f" While its students were timed, other programs used up to {100 * most:.0f}{number.SPACE}% of the machine’s "
        "cores: on a quiet one a latency or a cascade could have been judged otherwise."
    )


def coverage(measurements: Measurements) -> str:
    """Of the intervals in the table: two-sided, so that one side has the confidence asked for, each for itself."""
    return number.percent(2 * measurements.search.confidence - 1) if measurements.search else ""


def rows(measurements: Measurements) -> list[Row]:
    """All rungs, or nothing where the recipe named the shape."""
    return [_row(tried) for tried in measurements.search.tried] if measurements.search else []


def frontier(measurements: Measurements) -> Markup | None:
    """Share kept against rows per second, every rung with its interval; None with fewer than two."""
    search = measurements.search
    judged = [tried for tried in search.tried if _kept(tried) and tried.rows_per_second] if search else []
    if search is None or len(judged) < 2:
        return None
    places = [math.log10(tried.rows_per_second or 1.0) for tried in judged]

    def paint(axes: Any) -> None:
        if search.keep is not None:
            axes.axhline(100 * search.keep, color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        for tried, place in zip(judged, places, strict=True):
            value, low, high = (100 * bound for bound in _kept(tried))
            colour = COLOURS["student" if tried.taken else "other"]
            axes.errorbar(
                place,
                value,
                yerr=[[max(value - low, 0)], [max(high - value, 0)]],
                color=colour,
                marker="o",
                markersize=10 if tried.taken else 8,
                elinewidth=1.6,
                capsize=3.5,
            )
            axes.annotate(tried.name, (place, value), xytext=(9, 4), textcoords="offset points", color=COLOURS["ink"])
        log_ticks(axes, places)
        axes.set_xlabel("rows per second (log scale)")
        axes.set_ylabel("kept of the teacher’s, %")

    told = "; ".join(f"{tried.name} keeps {number.percent(_kept(tried)[0])}" for tried in judged)
    return draw(f"Share kept against rows per second: {told}", paint, width=520, height=300)


def _kept(tried: Tried) -> tuple[float, ...]:
    """Value, low and high; empty where it was not judged."""
    kept = tried.retention
    if kept is None or kept.value is None:
        return ()
    return kept.value, kept.value if kept.low is None else kept.low, kept.value if kept.high is None else kept.high


def _row(tried: Tried) -> Row:
    kept = tried.retention
    judged = kept is not None and kept.value is not None
    return Row(
        name=_named(tried),
        describes=tried.describes,
        kept=number.percent(kept.value) if kept is not None and kept.value is not None else number.NONE,
        interval=number.interval(kept, number.SHARE) if kept is not None and judged else "",
        rate=number.significant(tried.rows_per_second) if tried.rows_per_second is not None else number.NONE,
        latency=_milliseconds(tried, "p50"),
        slowest=_milliseconds(tried, "p95"),
        size=number.megabytes(tried.bytes) if tried.bytes is not None else number.NONE,
        verdict=tried.verdict,
        taken=tried.taken,
    )


def _named(tried: Tried) -> str:
    """With what it was not given."""
    epochs = tried.given_up_after or 0
    if epochs:
        return f"{tried.name} (given up after {'1 epoch' if epochs == 1 else f'{epochs} epochs'}: too far behind)"
    return tried.name if tried.epochs is None else f"{tried.name} (fewer epochs: {tried.epochs})"


def _milliseconds(tried: Tried, percentile: str) -> str:
    value = tried.latency_ms.get(percentile)
    return number.NONE if value is None else f"{number.significant(value)}{number.SPACE}ms"
