"""Training up to a level that the user states: the first epoch that reaches it ends the training and is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.errors import RecipeError
from tutelage.tasks import Array, Metric, Task

Record = Mapping[str, float]
"""What the history keeps of an epoch."""


@dataclass(frozen=True)
class Goal:
    """Levels that validation must reach, all in the same epoch."""

    levels: tuple[tuple[Metric, float], ...]

    def figures(self, predictions: Array, targets: Array) -> dict[str, float]:
        """The metrics that there are levels for, by name."""
        return {metric.name: metric.compute(predictions, targets) for metric, _ in self.levels}

    def reached(self, record: Record) -> bool:
        """Whether the figures of an epoch are good enough."""
        return all(_reaches(metric, record.get(metric.name), level) for metric, level in self.levels)

    def best(self, metric: Metric, history: Sequence[Record]) -> tuple[float, int] | None:
        """The best figure of a metric and its epoch, from 1; None where no epoch has one."""
        found = [(record[metric.name], int(record["epoch"])) for record in history if metric.name in record]
        if not found:
            return None
        choose = max if metric.higher_is_better else min
        return choose(found, key=lambda pair: pair[0])


def goal(levels: Mapping[str, float] | None, task: Task) -> Goal | None:
    """The levels of a recipe; None where it states none.

    Raises `RecipeError` for a metric that the task does not have and for a share that is none.
    """
    if levels is None:
        return None
    known = {metric.name: metric for metric in task.metrics}
    problems = [_problem(name, level, known, task) for name, level in levels.items()]
    if any(problems):
        raise RecipeError("the recipe", [problem for problem in problems if problem])
    return Goal(tuple((known[name], level) for name, level in levels.items()))


def told(wanted: Goal | None, history: Sequence[Record], *, epochs: int) -> dict[str, list[Any]]:
    """What became of it: `choices` for the report, and `warnings` when it was not reached.

    `history` is empty when nothing was trained; `epochs` is how many there could have been.
    """
    if wanted is None:
        return {"choices": [], "warnings": []}
    asked = " and ".join(f"{_title(metric)} {_sign(metric)} {level:g}" for metric, level in wanted.levels)
    figures: dict[str, Any] = {f"asked_{metric.name}": level for metric, level in wanted.levels}
    if not history:
        taken, why = "not trained", f"`until` ({asked}) was not looked at: the teacher was used as it was"
    elif wanted.reached(history[-1]):
        figures |= {metric.name: history[-1][metric.name] for metric, _ in wanted.levels}
        reached = " and ".join(f"{_title(metric)} {history[-1][metric.name]:.4g}" for metric, _ in wanted.levels)
        taken = f"stopped after epoch {len(history)} of at most {epochs}"
        why = f"{reached} on validation: `until` asked for {asked}"
        return {"choices": [_choice(taken, why, figures)], "warnings": []}
    else:
        best = {metric: wanted.best(metric, history) for metric, _ in wanted.levels}
        figures |= {f"best_{metric.name}": found[0] for metric, found in best.items() if found}
        bests = " and ".join(
            f"{_title(metric)} {found[0]:.4g} (epoch {found[1]})" for metric, found in best.items() if found
        )
        end = "no more were allowed" if len(history) >= epochs else f"patience ended it before epoch {epochs}"
        taken = f"trained for {_epochs(len(history))} without reaching the level asked for"
        why = f"`until` asked for {asked} on validation; the best was {bests}, and {end}"
    return {"choices": [_choice(taken, why, figures)], "warnings": [f"The teacher: {taken}: {why}."]}


def _choice(taken: str, why: str, figures: dict[str, Any]) -> dict[str, Any]:
    return {"what": "end of the teacher's training", "taken": taken, "why": why, "figures": figures}


def _problem(name: str, level: float, known: Mapping[str, Metric], task: Task) -> str:
    if name not in known:
        return f"teacher.until: {name!r} is no metric of {task.name}; these are: {', '.join(known)}"
    if known[name].percent and not 0 < level <= 1:
        return f"teacher.until.{name}: {level:g} was given; it is a share, above 0 and at most 1"
    return ""


def _reaches(metric: Metric, figure: float | None, level: float) -> bool:
    if figure is None:
        return False
    return figure >= level if metric.higher_is_better else figure <= level


def _title(metric: Metric) -> str:
    return metric.name.replace("_", " ")


def _sign(metric: Metric) -> str:
    return "of at least" if metric.higher_is_better else "of at most"


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"
