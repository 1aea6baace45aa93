"""Which of several teachers is taken: what each is worth to a student is judged before it has one.

The best model is not always the best teacher (a 3-layer student learned more from a weaker one, arXiv 2012.06048).
Each candidate teaches a linear model, which takes seconds; unless the recipe says otherwise, the one whose lesson
leaves the lowest validation loss is taken. Its own loss and score are shown beside it. Two things are found only where
they decide, for both rank worse: short trials of the student (`pilots.py`, docs/decisions/0022), and how far apart its
gradients are under each (docs/decisions/0018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage import pilots
from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording
from tutelage.beginning import Beginning
from tutelage.folder import RunFolder
from tutelage.pilots import Pilot
from tutelage.progress import Silent
from tutelage.recipe import Recipe, StudentRecipe
from tutelage.recipe_teacher import ChooseBy
from tutelage.student import balance, build, distil, gradients
from tutelage.student.gradients import Spread
from tutelage.student.linear import Array
from tutelage.tasks.base import Metric
from tutelage.teacher import signals as recording
from tutelage.training import supervised

_WHY: dict[ChooseBy, str] = {
    "taught": "validation loss of a linear model that each taught",
    "loss": "validation loss of each",
    "score": "score of each on validation",
    "gradients": "GRACE of the student’s gradients before it learned, among those whose own loss is not surely higher",
    "pilots": "validation loss of the student after a trial of one epoch, the better half going on to twice the texts",
}
_ERRORS = 2.0  # standard errors by which a loss is surely higher
_ALONE = "there is no other; validation loss"
_TOGETHER = "students hear all; its layers, and what is kept, are those of the one with the least validation loss"


@dataclass(frozen=True)
class Candidate:
    """A teacher that may be taken, judged on N validation rows."""

    model: str
    loss: Array
    """Its own label losses, calibrated (N,)."""
    score: float
    """Its own headline score."""
    taught: Array | None = None
    """Label losses of a linear model that it taught (N,); None where it taught none."""
    gradients: Spread | None = None
    """How far apart the student's are under it; None where that was not asked."""
    pilot: Pilot | None = None
    """The last trial of the student under it; None where that was not asked."""

    def figures(self) -> dict[ChooseBy, float]:
        """What is known of it, by what the recipe calls it."""
        found: dict[ChooseBy, float] = {"loss": float(self.loss.mean()), "score": self.score}
        if self.taught is not None:
            found["taught"] = float(self.taught.mean())
        if self.gradients is not None:
            found["gradients"] = self.gradients.grace
        if self.pilot is not None and self.pilot.loss is not None:
            found["pilots"] = float(self.pilot.loss.mean())
        return found

    def lesson(self, by: ChooseBy) -> Array | None:
        """What a pupil lost (N,), where that decides: a linear model, or the student on trial."""
        tried = self.pilot.loss if self.pilot is not None else None
        return {"taught": self.taught, "pilots": tried}.get(by)


def named(recipe: Recipe) -> list[Any]:
    """What names a choice beside the candidates; a plain one has the name that it had before there were others."""
    settings = recipe.teacher
    asked: list[Any] = ["epochs"] if settings.candidates else []
    asked += ["all of" if settings.combine == "all" else "best of"]
    asked += [settings.choose_by] if settings.choose_by != "taught" else []
    if settings.choose_by == "pilots":
        asked.append(pilots.lesson(recipe.student).identity())
    return [*asked, *([recipe.student.training().identity()] if settings.choose_by == "gradients" else [])]


def judged(model: str, network: Network, recipe: Recipe, folder: RunFolder, corpus: Corpus) -> Candidate:
    """All that the recipe wants to know of a candidate, but for trials, which take all of them."""
    task, validation, settings = network.task, corpus["validation"], recipe.teacher
    outputs = network.outputs(network.tokenize(validation.texts())).astype(np.float64)
    own = supervised.calibrated(network, outputs, validation.targets)[1]
    score = task.headline.compute(task.predict(outputs), validation.targets)
    return Candidate(
        model,
        own,
        score,
        taught=None if settings.combine == "all" else _lesson(network, recipe, folder, corpus),
        gradients=_spread(network, recipe, corpus) if settings.choose_by == "gradients" else None,
    )


def _lesson(network: Network, recipe: Recipe, folder: RunFolder, corpus: Corpus) -> Array:
    """Validation losses (N,) of a linear model that a teacher taught."""
    rows, validation, alone = [corpus["train"]], corpus["validation"], balance.ALONE
    wanted = Recording(network.task.width, precision=recipe.teacher.precision)
    told = recording.record(network, rows, wanted, folder=folder.signals, progress=Silent())
    transfer = distil.transfer_set(network, rows, told)
    judges = balance.judges(recipe, rows)
    taught = balance.screen(
        network, transfer, told, validation, StudentRecipe(), among=[alone], judges=judges, progress=Silent()
    )
    return taught[alone.name]


def _spread(network: Network, recipe: Recipe, corpus: Corpus) -> Spread:
    """Of the student that the recipe would make of a teacher; a search has many, and the default stands for them."""
    shape = build.choose(recipe.student, network.model.config)
    # However many megabytes it may have: the choice is not named by that.
    plain = recipe.model_copy(update={"student": recipe.student.training()})
    student = Beginning(plain, network, corpus, corpus.read, Silent()).student(shape)
    return gradients.measure(student, network, corpus.read, seed=recipe.seed)


def choose(
    candidates: Sequence[Candidate], metric: Metric, by: ChooseBy = "taught", *, together: bool = False
) -> tuple[int, dict[str, Any]]:
    """Which candidate is taken, and why.

    Of several that speak `together` it is the one that gives its layers and is what students are measured by.
    """
    several = len(candidates) > 1
    by, why = (by, _WHY[by]) if several and not together else ("loss", _TOGETHER if several else _ALONE)
    figures = [one.figures() for one in candidates]
    sign = -1 if by == "score" and metric.higher_is_better else 1
    values = sign * np.array([one.get(by, np.inf) for one in figures])  # a trial that failed tells nothing
    if by == "gradients":
        values[~_about_as_right(candidates)] = np.inf
    if by == "pilots":
        values[~_went_on(candidates)] = np.inf
    order = np.argsort(values, kind="stable").tolist()
    best, second = candidates[order[0]], candidates[order[min(1, len(order) - 1)]]
    told = ", ".join(_told(one, known, by, metric) for one, known in zip(candidates, figures, strict=True))
    more: dict[str, float] = {}
    ours, theirs = best.lesson(by), second.lesson(by)
    # Where all others fell out before the end, the next of them learned from fewer texts.
    compared = len(order) == 1 or bool(np.isfinite(values[order[1]]))
    if ours is not None and theirs is not None and compared:
        gain, error = balance.better(ours, theirs)
        told += f"; {-gain:+.4f} ± {error:.4f} against {second.model}"
        more = {"gain": gain, "standard_error": error}
    return order[0], {
        "what": "teacher",
        "taken": best.model,
        "why": f"{why}: {told}",
        "figures": {**{key: [one.get(key) for one in figures] for key in figures[order[0]]}, **more},
    }


def _about_as_right(candidates: Sequence[Candidate]) -> NDArray[np.bool_]:
    """(M,): which candidates' own loss is not surely higher than the least.

    Gradients know nothing of labels, and the less a teacher says, the smaller they are.
    """
    least = min(candidates, key=lambda one: float(one.loss.mean()))
    behind = [balance.better(least.loss, one.loss) for one in candidates]
    return np.array([gain <= _ERRORS * error for gain, error in behind])


def _went_on(candidates: Sequence[Candidate]) -> NDArray[np.bool_]:
    """(M,): whose student was in the last round of trials that anybody stood; the others had fewer texts."""
    texts = np.array([one.pilot.texts if one.pilot and one.pilot.loss is not None else 0 for one in candidates])
    went_on: NDArray[np.bool_] = texts == texts.max()
    return went_on


def _told(one: Candidate, figures: dict[ChooseBy, float], by: ChooseBy, metric: Metric) -> str:
    """A candidate by what decides, and the rest of what is known of it."""
    titles: dict[ChooseBy, str] = {
        "taught": "taught",
        "loss": "itself",
        "score": metric.title.lower(),
        "gradients": "GRACE",
    }
    rest = [f"{title} {figures[key]:.4f}" for key, title in titles.items() if key in figures and key != by]
    read = f" after {one.pilot.texts:,} texts" if by == "pilots" and one.pilot else ""
    value = f"{figures[by]:.4f}" if by in figures else "failed"
    return f"{one.model} {value}{read} ({', '.join(rest)})"
