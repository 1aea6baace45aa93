"""How well everyone does on other domains or languages, which nothing was learned or chosen from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tutelage.artifacts.corpus import Corpus, Split
from tutelage.artifacts.measurements import Interval, OtherMeasurements
from tutelage.evaluate.intervals import Bootstrap
from tutelage.evaluate.measure import Player
from tutelage.progress import Progress
from tutelage.recipe import EvaluateRecipe
from tutelage.tasks import Task


def examine(
    corpus: Corpus,
    players: Mapping[str, Player],
    settings: EvaluateRecipe,
    *,
    learned: NDArray[np.void],
    seed: int,
    progress: Progress,
) -> list[OtherMeasurements]:
    """Every player's scores on each of the other sets, and how much of the teacher's the student keeps there.

    Rows whose keys are among those `learned` (N,) are left out: a changed copy may read as one of them does.
    """
    if not corpus.others:
        return []
    found = []
    with progress.bar("Answering the rows of other data", len(corpus.others)) as bar:
        for whole in corpus.others.values():
            split = whole.take(np.flatnonzero(~np.isin(whole.keys, learned)))
            bootstrap = Bootstrap(len(split), resamples=settings.resamples, confidence=settings.confidence, seed=seed)
            found.append(_one(corpus.task, split, players, bootstrap))
            bar.advance()
    return found


def _one(task: Task, split: Split, players: Mapping[str, Player], bootstrap: Bootstrap) -> OtherMeasurements:
    texts, targets, headline = split.texts(), split.targets, task.headline.name
    resampled = {
        role: bootstrap.scores(task.metrics, player.predict(texts), targets) for role, player in players.items()
    }
    kept = bootstrap.ratio(resampled["student"][headline], resampled["teacher"][headline])
    return OtherMeasurements(
        name=split.name,
        rows=len(split),
        scores={
            role: {name: Interval(**figures) for name, figures in bootstrap.intervals(scores).items()}
            for role, scores in resampled.items()
        },
        retention=Interval(**kept.as_dict()),
    )
