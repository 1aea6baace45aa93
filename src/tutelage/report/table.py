"""The short tables at the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutelage.artifacts.measurements import Interval, Measurements
from tutelage.report import answer, comparison, elsewhere, number

if TYPE_CHECKING:
    from rich.table import Table


# Letters of a name of other data that fit into 80 columns beside all figures and the interval of one.
_LONG_NAME = 9


def summary(measurements: Measurements) -> Table:
    """Every model's headline score with its interval, size and speed, beneath the answer. Fits 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    metric = measurements.metric(measurements.headline)
    lines = [answer.sentence(measurements), _verdict(measurements), *answer.beside(measurements)]
    unsure = answer.doubt(measurements)
    lines += filter(None, [unsure and f"The teacher does not surely know the task. {unsure}"])
    lines += filter(None, [answer.disturbed(measurements)])
    table = Table(
        title=Text("\n".join(lines)), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("", overflow="fold")
    for column in (metric.title, "size", "rows/s", "one row"):
        table.add_column(Text(column), justify="right", no_wrap=True)
    for role, model in measurements.in_order.items():
        score = model.scores.get(metric.name, Interval())
        runtime = comparison.main_runtime(measurements, role)
        latency = model.latency_ms.get("p50")
        table.add_row(
            Text(model.title or comparison.title_of(measurements, role)),
            Text(f"{number.score(score.value, metric)} {number.interval(score, metric)}".rstrip()),
            number.megabytes(model.bytes),
            number.significant(model.rows_per_second.get(runtime) if runtime else None),
            number.NONE if latency is None else f"{number.significant(latency)} ms",
            style="bold" if role == "student" else None,
        )
    return table


def _verdict(measurements: Measurements) -> str:
    """The verdict in a few words; over several seeds with the figure, which is then nowhere else on the screen."""
    title, over = answer.verdict(measurements).title, measurements.seeds
    if over is None or over.against_control is None:
        return f"{title}."
    metric, gain = measurements.metric(measurements.headline), over.against_control
    figure = f"{number.difference(gain.value, metric)} {number.interval(gain, metric)}".rstrip()
    return f"{title}: {figure} over {len(over.runs)} seeds."


def other_data(measurements: Measurements) -> Table | None:
    """Scores on other domains and languages; None where there are none. The report has all intervals."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = elsewhere.elsewhere(measurements)
    if not rows:
        return None
    # A name that is folded letter by letter is worse to miss than an interval.
    narrow = max(len(row.name) for row in rows) > _LONG_NAME
    title = f"Other data: {answer.lowered(measurements.metric(measurements.headline).title)}"
    table = Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("", overflow="fold")
    *models, kept = elsewhere.heads(measurements)
    for column in ("rows", *models, kept):
        table.add_column(Text(column), justify="right", no_wrap=True)
    for row in rows:
        share = row.cells[-1]
        figures = [cell.figure for cell in row.cells[:-1]]
        interval = "" if narrow else share.note
        table.add_row(Text(row.name), row.rows, *figures, f"{share.figure} {interval}".rstrip())
    return table
