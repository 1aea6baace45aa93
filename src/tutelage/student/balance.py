"""Choose how a student learns from its teacher: which loss, alpha and temperature, or no teacher at all.

Every way teaches a linear model over tokens and pairs, on all rows and to its end, which takes about a second. A linear
model has one optimum, so that what differs is the lesson and nothing else.

A way is judged by the label loss of the validation rows after calibration, paired with others. Where they are few, a
fifth of the labelled training rows is held out and judges too, and further fifths in turn until there are enough. No
changed copies are learned from then: what a teacher says of a copy, it says because it was told the label of the text.

Teacher and labels are followed alike, unless something else is better by two standard errors of the difference. For
values, and where labels were guessed, the teacher alone comes first. The labels alone, and after them weighted soft
labels, must also beat what was taken before them. Why so, and what short trials of the student itself would have said:
docs/decisions/0008.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Signals
from tutelage.progress import Progress
from tutelage.recipe import Recipe, StudentRecipe
from tutelage.student import beside, linear, losses, weighting
from tutelage.student.distil import Transfer
from tutelage.student.linear import Array
from tutelage.tasks import Task
from tutelage.training import supervised

# The lessons of a linear model hardly change with more rows; with many outputs, fewer take as long.
_MOST_ROWS, _FEWEST_ROWS, _MOST_NUMBERS = 20_000, 1000, 200_000
_ERRORS = 2.0  # standard errors by which another way must be better
_ENOUGH = 300  # rows that can tell a teacher who knows little from one who knows
_ROUNDS = 2  # of weighing rows by what a linear model learned with the weights before


@dataclass(frozen=True)
class Way:
    """One way to learn."""

    name: str
    settings: Mapping[str, Any]
    """What it changes in the recipe."""


ALONE = Way("the teacher alone", {})
HALF = Way("half teacher, half labels", {"alpha": 0.5})
WARM = Way("half teacher, half labels, temperature 2", {"alpha": 0.5, "temperature": 2.0})
SOFT = Way("half teacher, half labels, weighted soft labels", {"alpha": 0.5, "weighting": "wsl"})
LABELS = Way("the labels alone", {"alpha": 0.0, "hidden": 0.0, "attention": 0.0, "relations": 0.0})


def ways(task: Task, *, guessed: bool = False) -> list[list[Way]]:
    """What is tried for a task, from the default on: each list must surely beat what was taken before it.

    Labels that were `guessed` are not followed unless they are surely worth it.
    """
    if task.outputs == "scores":
        # DIST and standardised logits leave open how far apart scores are: a linear model that is held back falls to 0.
        # DKD weighs the classes that are not the label against each other: with two there is one.
        others = [WARM, Way("the teacher alone, temperature 2", {"temperature": 2.0})]
        others += [
            Way(f"the teacher alone, loss {name}", {"loss": name})
            for name, least in (("logit-mse", 2), ("dkd", 3))
            if task.width >= least
        ]
        first, second = (ALONE, HALF) if guessed else (HALF, ALONE)
        return [[first], [second, *others], [LABELS], [SOFT]]
    return [[ALONE], [HALF], [LABELS]]


def screen(
    student: Network,
    transfer: Transfer,
    signals: Signals,
    validation: Split,
    settings: StudentRecipe,
    *,
    among: Sequence[Way] | None = None,
    judges: NDArray[np.bool_] | None = None,
    progress: Progress,
) -> dict[str, Array]:
    """Label losses (N,) of rows that a linear model has not learned from, after it learned in each way, or in some.

    The rows are those of validation and, where they are few, the labelled ones of the transfer set, or those of them
    that are `judges` (N,): see there. Of the student only its tokens and its task matter.
    """
    task = student.task
    once = transfer.once
    places, counts = drawn(~np.isnan(transfer.targets[once]), task.width)
    some = once[places]
    rows = linear.read(student, transfer.tokens.take(some))
    judged = linear.read(student, student.tokenize(validation.texts()))
    centre, spread = supervised.units(student)
    said = spoken(student, signals.outputs(transfer.signal_rows[some], transfer.keys[some]))
    labels = transfer.targets[some]
    targets = supervised.standardised(student, labels).double()
    # A row that was drawn more than once must not be learned from where it is judged.
    dealt = beside.folds(transfer.keys[some], seed=0)
    known = ~np.isnan(labels) & (True if judges is None else judges[some])
    exams = _exams(np.flatnonzero(known), transfer.copied[some], dealt, missing=_ENOUGH - len(validation))
    truth = np.concatenate([validation.targets, *(labels[held] for _, held in exams)])
    found, candidates = {}, among or [way for group in ways(task) for way in group]
    with progress.bar("Comparing ways to learn", len(candidates) * len(exams)) as bar:
        for way in candidates:
            asked, answers = settings.model_copy(update=dict(way.settings)), []
            for number, (learned, held) in enumerate(exams):
                ours = rows[learned], said[learned], targets[learned]
                pupil = _pupil(asked, task, *ours, counts=counts[learned])
                unseen = [rows[held]] if number else [judged, rows[held]]
                answers += [pupil.outputs(one) for one in unseen]
                bar.advance()
            said_by_it = np.concatenate(answers) * spread + centre
            found[way.name] = supervised.calibrated(student, said_by_it, truth)[1]
    return found


def judges(recipe: Recipe, splits: Sequence[Split]) -> NDArray[np.bool_]:
    """Whether what the rows of some splits are labelled as (N,) may choose how to learn: not labels of other data
    sets (`data.more`), nor guesses (`teacher.zero_shot`)."""
    others = {source for one in recipe.data.more or [] for source in one.source}
    asked = recipe.teacher.zero_shot is None
    return np.array([asked and source not in others for split in splits for source in split.sources], dtype=bool)


def _exams(
    known: NDArray[np.int64], copied: NDArray[np.bool_], dealt: NDArray[np.int64], *, missing: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(rows to learn from, rows held out of them to judge) of each exam; the first judges the validation rows too.

    Folds of the rows whose labels are `known` are held out until they make up for the `missing` ones.
    """
    everything = np.arange(len(dealt))
    if missing <= 0 or len(known) < beside.FOLDS:
        return [(everything, everything[:0])]
    exams = []
    for number in range(beside.FOLDS):
        held = known[dealt[known] == number]
        if missing > 0 and len(held):
            exams.append((np.setdiff1d(everything[~copied], held), held))
            missing -= len(held)
    return exams


def _pupil(
    settings: StudentRecipe, task: Task, rows: Any, said: torch.Tensor, targets: torch.Tensor, *, counts: Array
) -> linear.Pupil:
    """A linear model that learned in one way; weights that go by what it knows are found in rounds.

    `counts` (N,): how many texts each row stands for.
    """
    many = torch.from_numpy(counts / counts.mean())

    def learned(worth: torch.Tensor | float = 1.0) -> linear.Pupil:
        loss = lesson(settings, task, said, targets, worth=worth)
        return linear.taught(rows, lambda outputs: many * loss(outputs), task.width)

    pupil = learned()
    for _ in range(_ROUNDS if settings.weighting == "wsl" else 0):
        pupil = learned(weighting.worth_following(torch.from_numpy(pupil.outputs(rows)), said, targets, task))
    return pupil


def drawn(known: NDArray[np.bool_], outputs: int) -> tuple[NDArray[np.int64], Array]:
    """Which of N rows, in their order, a linear model with K outputs learns from, and how many each stands for.

    Those with a label, `known` (N,), and the others are drawn apart: thousands of texts without one leave as many
    labels as there would be without them.
    """
    counts = np.zeros(len(known))
    for rows in (np.flatnonzero(known), np.flatnonzero(~known)):
        if len(rows):
            some = rows[sample(len(rows), outputs)]
            counts[some] = len(rows) / len(some)
    places = np.flatnonzero(counts)
    return places, counts[places]


def sample(rows: int, outputs: int) -> NDArray[np.int64]:
    """Which of the rows a linear model with K outputs learns from, evenly spread."""
    most = min(rows, _MOST_ROWS, max(_MOST_NUMBERS // outputs, _FEWEST_ROWS))
    return np.unique(np.linspace(0, rows - 1, most).astype(np.int64))


def decide(task: Task, screened: Mapping[str, Array], *, guessed: bool = False) -> tuple[Way, dict[str, Any]]:
    """The way to learn, and why, from what `screen` found."""
    (default,), *groups = ways(task, guessed=guessed)
    taken = default
    for group in groups:
        best = min(group, key=lambda way: float(screened[way.name].mean()))
        gain, error = better(screened[best.name], screened[taken.name])
        if gain > _ERRORS * error:
            taken = best
    means = {name: float(found.mean()) for name, found in screened.items()}
    # Where the default stays, what comes closest shows how sure that is.
    others = [name for name in means if name != default.name]
    closest = taken.name if taken != default else min(others, key=lambda name: means[name])
    gain, error = better(screened[closest], screened[default.name])
    why = f"{-gain:+.4f} ± {error:.4f} against {default.name}"
    if taken == default:
        why = f"nothing else is better by two standard errors; the closest, {closest}: {why}"
    return taken, {
        "what": "way to learn",
        "taken": taken.name,
        "why": f"validation loss of a linear model: {why}",
        "figures": {"linear": means, "gain": gain, "standard_error": error},
    }


def better(one: Array, other: Array) -> tuple[float, float]:
    """(mean, its standard error) of how much lower paired losses (N,) are than others."""
    difference: NDArray[np.float64] = other - one
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def spoken(network: Network, outputs: NDArray[np.float32]) -> torch.Tensor:
    """What a teacher said (N, K), in training units."""
    centre, spread = supervised.units(network)
    return torch.from_numpy((outputs - centre) / spread).double()


def lesson(
    settings: StudentRecipe,
    task: Task,
    said: torch.Tensor,
    targets: torch.Tensor,
    *,
    worth: torch.Tensor | float = 1.0,
) -> linear.RowLoss:
    """What a linear model is to learn from a teacher (N, K) and from labels (N,), NaN where unknown.

    `worth` (N,) is what the teacher's term counts for each row.
    """
    compute, alpha, temperature = losses.choose(settings.loss, task).compute, settings.alpha, settings.temperature
    known = ~targets.isnan()

    def loss(outputs: torch.Tensor) -> torch.Tensor:
        total = alpha * worth * temperature**2 * compute(outputs, said, targets, temperature)
        if alpha < 1:
            of_labels = torch.zeros_like(total)
            of_labels[known] = task.label_loss(outputs[known], targets[known])
            total = total + (1 - alpha) * of_labels
        return total

    return loss
