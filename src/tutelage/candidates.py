"""Which of several teachers is taken: what each is worth to a student is judged without training any.

The best model is not always the best teacher (a 3-layer student learned more from a weaker one, arXiv 2012.06048).
Each candidate teaches a linear model, which takes seconds; unless the recipe says otherwise, the one whose lesson
leaves the lowest validation loss is taken. Its own loss and score are shown beside it. How far apart the gradients of
the student are under each is found only where that decides: it takes seconds and ranks worse (docs/decisions/0018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.corpus import Corpus
from tutelage.artifacts.network import Network
from tutelage.artifacts.signals import Recording
from tutelage.beginning import Beginning
from tutelage.folder import RunFolder
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

    def figures(self) -> dict[ChooseBy, float]:
        """What is known of it, by what the recipe calls it."""
        found: dict[ChooseBy, float] = {"loss": float(self.loss.mean()), "score": self.score}
        if self.taught is not None:
            found["taught"] = float(self.taught.mean())
        if self.gradients is not None:
            found["gradients"] = self.gradients.grace
        return found


def named(recipe: Recipe) -> list[Any]:
    """What names a choice beside the candidates; a plain one has the name that it had before there were others."""
    settings = recipe.teacher
    asked: list[Any] = ["epochs"] if settings.candidates else []
    asked += ["all of" if settings.combine == "all" else "best of"]
    asked += [settings.choose_by] if settings.choose_by != "taught" else []
    return [*asked, *([recipe.student.training().identity()] if settings.choose_by == "gradients" else [])]


def judged(model: str, network: Network, recipe: Recipe, folder: RunFolder, corpus: Corpus) -> Candidate:
    """All that the recipe wants to know of a candidate."""
    task, validation, settings = network.task, corpus["validation"], recipe.teacher
    outputs = network.outputs(network.tokenize(validation.texts())).astype(np.float64)
    own = supervised.calibrated(network, outputs, validation.targets)[1]
    score = task.headline.compute(task.predict(outputs), validation.targets)
    return Candidate(
        model,
        own,
        score,
        taught=None if settings.combine == "all" else _lesson(network, folder, corpus),
        gradients=_spread(network, recipe, corpus) if settings.choose_by == "gradients" else None,
    )


def _lesson(network: Network, folder: RunFolder, corpus: Corpus) -> Array:
    """Validation losses (N,) of a linear model that a teacher taught."""
    rows, validation, alone = [corpus["train"]], corpus["validation"], balance.ALONE
    told = recording.record(network, rows, Recording(network.task.width, ()), folder=folder.signals, progress=Silent())
    transfer = distil.transfer_set(network, rows, told)
    taught = balance.screen(network, transfer, told, validation, StudentRecipe(), among=[alone], progress=Silent())
    return taught[alone.name]


def _spread(network: Network, recipe: Recipe, corpus: Corpus) -> Spread:
    """Of the student that the recipe would make of a teacher; a search has many, and the default stands for them."""
    splits = [split for name, split in corpus.splits.items() if name in ("train", "unlabelled")]
    shape = build.choose(recipe.student, network.model.config)
    student = Beginning(recipe, network, corpus, splits, Silent()).student(shape)
    return gradients.measure(student, network, splits, seed=recipe.seed)


def choose(
    candidates: Sequence[Candidate], metric: Metric, by: ChooseBy = "taught", *, together: bool = False
) -> tuple[int, dict[str, Any]]:
    """Which candidate is taken, and why.

    Of several that speak `together` it is the one that gives its layers and is what students are measured by.
    """
    several = len(candidates) > 1
    by, why = (by, _WHY[by]) if several and not together else ("loss", _TOGETHER if several else _ALONE)
    figures = [one.figures() for one in candidates]
    values = np.array([one[by] for one in figures]) * (-1 if by == "score" and metric.higher_is_better else 1)
    if by == "gradients":
        values[~_about_as_right(candidates)] = np.inf
    order = np.argsort(values, kind="stable").tolist()
    best, second = candidates[order[0]], candidates[order[min(1, len(order) - 1)]]
    told = ", ".join(_told(one.model, known, by, metric) for one, known in zip(candidates, figures, strict=True))
    more: dict[str, float] = {}
    if by == "taught" and best.taught is not None and second.taught is not None:
        gain, error = balance.better(best.taught, second.taught)
        told += f"; {-gain:+.4f} ± {error:.4f} against {second.model}"
        more = {"gain": gain, "standard_error": error}
    return order[0], {
        "what": "teacher",
        "taken": best.model,
        "why": f"{why}: {told}",
        "figures": {**{key: [one[key] for one in figures] for key in figures[0]}, **more},
    }


def _about_as_right(candidates: Sequence[Candidate]) -> NDArray[np.bool_]:
    """(M,): which candidates' own loss is not surely higher than the least.

    Gradients know nothing of labels, and the less a teacher says, the smaller they are.
    """
    least = min(candidates, key=lambda one: float(one.loss.mean()))
    behind = [balance.better(least.loss, one.loss) for one in candidates]
    return np.array([gain <= _ERRORS * error for gain, error in behind])


def _told(model: str, figures: dict[ChooseBy, float], by: ChooseBy, metric: Metric) -> str:
    """A candidate by what decides, and the rest of what is known of it."""
    titles: dict[ChooseBy, str] = {
        "taught": "taught",
        "loss": "itself",
        "score": metric.title.lower(),
        "gradients": "GRACE",
    }
    rest = [f"{title} {figures[key]:.4f}" for key, title in titles.items() if key in figures and key != by]
    return f"{model} {figures[by]:.4f} ({', '.join(rest)})"
