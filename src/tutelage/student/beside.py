"""Let a linear model speak beside the teacher, where validation says that both together know more.

The model learns the labels, and students hear its share on the very texts whose labels it has learned: there it would
only repeat them. So the rows are dealt into folds, and of each a model speaks that has learned from the other folds
(stacked generalisation, Wolpert 1992). All other texts are answered by a model of all labelled rows, and with it,
on validation, strength and share are chosen.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network
from tutelage.artifacts.voice import Beside, halves
from tutelage.progress import Progress
from tutelage.student import linear, widen
from tutelage.student.linear import Array
from tutelage.student.widen import Trial
from tutelage.training import supervised

FOLDS = 5
_WHAT = "linear part beside the teacher"


def choose(
    network: Network,
    train: Split,
    validation: Split,
    *,
    deep: Array | None = None,
    wanted: Literal["auto", True],
    seed: int,
    progress: Progress,
) -> tuple[Beside | None, dict[str, Any]]:
    """What speaks beside a teacher, or beside what gave `deep` (V, K) on validation; and why.

    With `auto` it is taken where it lowers the validation loss by more than one standard error of that difference.
    """
    tokens = network.tokenize(train.texts())
    tried = widen.try_beside(
        network,
        tokens,
        train.targets,
        validation,
        among=train.epoch(0),
        deep=deep,
        wanted=wanted,
        progress=progress,
    )
    if isinstance(tried, str):
        return None, {"what": _WHAT, "taken": "none", "why": tried, "figures": {}}
    taken = tried.pays or wanted is True
    choice = {**widen.choice_of(network.task, tried, taken=taken), "what": _WHAT}
    if not taken:
        return None, choice
    table, bias = tried.table(network)
    known = np.flatnonzero(~np.isnan(train.targets))
    # Equal texts are one: as equal rows of a file are, when they are not dropped.
    keys, first = np.unique(halves(train.keys[known]), axis=0, return_index=True)
    said = _held_out(network, train, linear.read(network, tokens), tried, seed=seed, progress=progress)
    answers = said[known[first]]
    return Beside("", table, bias, tried.deep, tried.buckets, keys, answers), choice


def folds(keys: NDArray[np.void], *, seed: int) -> NDArray[np.int64]:
    """(N,): the fold that each row is dealt into; rows of equal keys share one."""
    distinct, number = np.unique(halves(keys), axis=0, return_inverse=True)
    return np.random.default_rng(seed).permutation(len(distinct))[number.reshape(-1)] % FOLDS


def _held_out(network: Network, train: Split, rows: Any, tried: Trial, *, seed: int, progress: Progress) -> Array:
    """(N, K): the share of the answer to each training row by a model that has not learned from its fold."""
    task, targets = network.task, train.targets
    fold, drawn = folds(train.keys, seed=seed), train.epoch(0)
    drawn = drawn[~np.isnan(targets[drawn])]
    centre, spread = supervised.units(network)
    labels = supervised.standardised(network, targets).double()
    found = np.zeros((len(train), task.width))
    with progress.bar("Answering the training texts, each unseen", FOLDS) as bar:
        for number in range(FOLDS):
            others, mine = drawn[fold[drawn] != number], np.flatnonzero(fold == number)
            learned = widen.sample(others, task.width) if len(others) else others
            if len(learned) and len(mine):
                wanted = labels[torch.from_numpy(learned)]

                def loss(outputs: torch.Tensor, wanted: torch.Tensor = wanted) -> torch.Tensor:
                    return task.label_loss(outputs, wanted)

                pupil = linear.taught(rows[learned], loss, task.width, tried.best.strength)
                found[mine] = pupil.outputs(rows[mine]) * spread + centre
            bar.advance()
    return found * (tried.best.share / tried.best.temperature)
