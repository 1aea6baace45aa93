"""Put a wide part beside a trained student, where validation says that it helps.

The wide part is linear, so it is fitted to the end, from the labels and, for a student, from its teacher; which of
them, how strongly it is held back, and its share of the answer are chosen on validation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.artifacts.corpus import Split
from tutelage.artifacts.network import Network
from tutelage.artifacts.tokens import Tokens
from tutelage.artifacts.wide import Wide, features
from tutelage.progress import Progress
from tutelage.student import linear
from tutelage.student.linear import Array, RowLoss
from tutelage.student.losses import LOSSES
from tutelage.tasks import Task
from tutelage.training import supervised

# With many outputs the table would outgrow the student, and its fit the memory: numbers in it, and in all outputs.
_LARGEST_TABLE, _LARGEST_ROWS = 4_000_000, 20_000_000
# Tried on VADER's movie sentences (docs/decisions/0003): L2 in units of 1 / rows, and shares of the wide part.
_STRENGTHS = (0.1, 1.0)
_SHARES = np.arange(1, 10) / 10
# More rows hardly change a linear model, and their fit would take longer than the student's.
_MOST_ROWS = 200_000


@dataclass(frozen=True)
class Mix:
    """A wide part beside a network, judged on validation."""

    learned_from: str
    weights: Array
    """(features, K), in training units."""
    bias: Array
    strength: float
    share: float
    temperature: float
    losses: Array
    """Per validation row."""
    score: float


@dataclass(frozen=True)
class Trial:
    """The best wide part that was found, and none."""

    alone: Mix
    best: Mix
    rarity: Array
    """(features,): what each counts for."""
    buckets: int

    @property
    def pays(self) -> bool:
        """Whether it lowers the validation loss by more than one standard error of that difference."""
        better = self.alone.losses - self.best.losses
        return bool(better.mean() > better.std() / np.sqrt(len(better)))

    def table(self, network: Network) -> tuple[Array, Array]:
        """Table (features, K) and bias (K,) of its share of the calibrated answer, in the user's unit."""
        centre, spread = supervised.units(network)
        factor = self.best.share / self.best.temperature
        table = self.best.weights * self.rarity[:, None] * spread * factor
        return table, (self.best.bias * spread + centre) * factor

    @property
    def deep(self) -> float:
        """What the other answer is multiplied by."""
        return (1 - self.best.share) / self.best.temperature


def widen(
    network: Network,
    tokens: Tokens,
    targets: Array,
    validation: Split,
    *,
    said: Callable[[NDArray[np.int64]], Any] | None = None,
    among: NDArray[np.int64] | None = None,
    wanted: Literal["auto"] | bool,
    progress: Progress,
) -> tuple[Network, dict[str, Any] | None]:
    """The network with a wide part fitted on N rows, or on those `among` them, and why; or as it was.

    `targets` (N,) are NaN where unknown; `said` gives what the teacher said of some rows, (B,) -> (B, K); both are in
    the user's unit. With `auto` the wide part stays when it lowers the validation loss by more than one standard error
    of that difference.
    """
    if not wanted:
        return network, None
    tried = try_beside(network, tokens, targets, validation, said=said, among=among, wanted=wanted, progress=progress)
    if isinstance(tried, str):
        return network, _left_out(tried)
    taken = tried.pays or wanted is True
    return _with(network, tried) if taken else network, choice_of(network.task, tried, taken=taken)


def try_beside(
    network: Network,
    tokens: Tokens,
    targets: Array,
    validation: Split,
    *,
    said: Callable[[NDArray[np.int64]], Any] | None = None,
    among: NDArray[np.int64] | None = None,
    deep: Array | None = None,
    wanted: Literal["auto"] | bool,
    progress: Progress,
) -> Trial | str:
    """The best wide part for a network, or for whatever else gave `deep` (V, K) on validation; see `widen`.

    Where there should be none at all, the reason.
    """
    vocabulary, buckets = int(network.model.config.vocab_size), linear.buckets(network.task.width)
    numbers = (vocabulary + buckets) * network.task.width
    if wanted == "auto" and not fits(vocabulary, network.task.width):
        return f"a table of {numbers:,} numbers would outgrow the student; `wide: true` makes it"
    every = np.arange(len(tokens)) if among is None else among
    unknown = np.isnan(targets[every])
    # Drawn apart: hundreds of thousands of texts without a label leave the labels.
    sides = [np.flatnonzero(side) for side in (~unknown, unknown) if side.any()]
    some = every[np.sort(np.concatenate([sample(side, network.task.width) for side in sides]))]
    rows = features(tokens.take(some), vocabulary=vocabulary, buckets=buckets)
    weights = linear.rarity(rows)
    judge = _Judge(network, validation, vocabulary, buckets, weights, deep)
    alone = judge.alone()
    lessons = _lessons(network, targets[some], said(some) if said else None)
    mixes = []
    with progress.bar("Fitting the wide part", len(lessons) * len(_STRENGTHS)) as bar:
        for name, (known, loss) in lessons.items():
            for strength in _STRENGTHS:
                fitted = linear.fit(rows[known].multiply(weights).tocsr(), loss, network.task.width, strength)
                mixes.append(judge.best(name, *fitted, strength))
                bar.advance()
    best = min(mixes, key=lambda mix: float(mix.losses.mean()))
    return Trial(alone, best, weights, buckets)


def sample(among: NDArray[np.int64], outputs: int) -> NDArray[np.int64]:
    """Which of some rows a wide part with K outputs is fitted on, evenly spread."""
    most = min(len(among), _MOST_ROWS, max(_LARGEST_ROWS // outputs, 1))
    return among[np.unique(np.linspace(0, len(among) - 1, most).astype(np.int64))]


def fits(vocabulary: int, outputs: int) -> bool:
    """Whether a table for so many tokens and K outputs is small enough to stand beside a student."""
    return (vocabulary + linear.buckets(outputs)) * outputs <= _LARGEST_TABLE


def _left_out(why: str) -> dict[str, Any]:
    return {"what": "wide part", "taken": "none", "why": why, "figures": {}}


def _lessons(network: Network, targets: Array, said: Array | None) -> Mapping[str, tuple[NDArray[np.bool_], RowLoss]]:
    """What a wide part may learn from: which rows, and the loss of outputs there."""
    task = network.task
    centre, spread = supervised.units(network)
    labels = supervised.standardised(network, targets).double()
    known = ~np.isnan(targets)
    found: dict[str, tuple[NDArray[np.bool_], RowLoss]] = {}
    if known.any():
        found["labels"] = (known, lambda outputs: task.label_loss(outputs, labels[torch.from_numpy(known)]))
    if said is not None:
        told, loss = torch.from_numpy((said - centre) / spread).double(), LOSSES[task.default_loss].compute
        found["teacher"] = (np.ones(len(said), dtype=bool), lambda outputs: loss(outputs, told, labels, 1.0))
    return found


class _Judge:
    """Validation rows, and what the network alone says of them."""

    def __init__(  # noqa: PLR0917 - called once
        self,
        network: Network,
        validation: Split,
        vocabulary: int,
        buckets: int,
        weights: Array,
        deep: Array | None,
    ) -> None:
        self.network, self.targets = network, validation.targets
        tokens = network.tokenize(validation.texts())
        self.deep = (network.outputs(tokens) if deep is None else deep).astype(np.float64)
        self.rows = features(tokens, vocabulary=vocabulary, buckets=buckets).multiply(weights).tocsr()
        self.centre, self.spread = supervised.units(network)

    def alone(self) -> Mix:
        """No wide part."""
        nothing = np.zeros((self.rows.shape[1], self.network.task.width))
        return self._mixed("", nothing, nothing[0], 0.0, 0.0)

    def best(self, name: str, weights: Array, bias: Array, strength: float) -> Mix:
        """The share of least validation loss."""
        # Without layers there is nothing to mix with.
        shares = _SHARES if self.network.layers else (1.0,)
        mixes = [self._mixed(name, weights, bias, strength, float(share)) for share in shares]
        return min(mixes, key=lambda mix: float(mix.losses.mean()))

    def _mixed(self, name: str, weights: Array, bias: Array, strength: float, share: float) -> Mix:
        task = self.network.task
        wide = (self.rows @ weights + bias) * self.spread + self.centre
        outputs = (1 - share) * self.deep + share * wide
        temperature, losses = supervised.calibrated(self.network, outputs, self.targets)
        score = task.headline.compute(task.predict(outputs / temperature), self.targets)
        return Mix(name, weights, bias, strength, share, temperature, losses, score)


def choice_of(task: Task, tried: Trial, *, taken: bool) -> dict[str, Any]:
    """What the report shows."""
    alone, best = tried.alone, tried.best
    share = f"a {best.share:.0%} share" if best.share < 1 else "alone"
    return {
        "what": "wide part",
        "taken": f"{share}, learned from the {best.learned_from}" if taken else "none",
        "why": f"validation loss {alone.losses.mean():.4f} without, {best.losses.mean():.4f} with it; "
        f"{task.headline.title.lower()} {alone.score:.4f} and {best.score:.4f}",
        "figures": {
            "share": best.share,
            "loss_without": float(alone.losses.mean()),
            "loss_with": float(best.losses.mean()),
            "score_without": alone.score,
            "score_with": best.score,
        },
    }


def _with(network: Network, tried: Trial) -> Network:
    table, bias = tried.table(network)
    scale = float(np.abs(table).max()) or 1.0
    wide = Wide(
        torch.from_numpy(table / scale),
        torch.from_numpy(bias),
        scale=scale,
        deep=tried.deep,
        buckets=tried.buckets,
    )
    return replace(network, wide=wide.to(network.model.device))
