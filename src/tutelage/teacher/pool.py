"""Several teachers speak as one: the weighted sum of their calibrated outputs, calibrated again.

With outputs z_m (K,) of teacher m, weights w_m >= 0 that sum to 1, and a temperature T:

    z = sum_m w_m z_m / T

For scores that is a weighted geometric mean of probabilities, the logarithmic opinion pool (Genest and Zidek 1986;
Hinton et al. 2015, arXiv 1503.02531, name the geometric and the arithmetic mean as an ensemble's soft targets); for
quantities a weighted mean. Its loss is convex in the weights, which are those of least validation loss, none below 0
(stacked regressions, Breiman 1996). What is averaged is less sure than its parts, hence T.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.artifacts.network import Network
from tutelage.artifacts.tokens import Tokens
from tutelage.artifacts.voice import Voice
from tutelage.recipe_training import Arithmetic
from tutelage.tasks import Array
from tutelage.training import supervised
from tutelage.training.lean import needed_positions
from tutelage.training.precision import precision

# How strongly weights are held towards equal ones, in rows: a handful of validation rows hardly moves them, some
# hundred do. A starting point, not tuned.
_HELD = 10.0


@dataclass(frozen=True)
class Pool(Voice):
    """A teacher and others, whose folders are read when they speak: one of them is in memory at a time."""

    name: str
    teacher: Network
    others: tuple[Path, ...]
    """Folders of M - 1 networks."""
    weights: tuple[float, ...]
    """(M,), the teacher's first; their sum is 1 / T."""
    precision: Arithmetic = "fp32"

    def said(self, texts: Sequence[str], keys: NDArray[np.void], tokens: Tokens, outputs: Array) -> Array:
        del keys, tokens
        own, *theirs = self.weights
        total = own * np.asarray(outputs, dtype=np.float64)
        for place, weight in zip(self.others, theirs, strict=True):
            network = Network.load(place, self.teacher.task, self.teacher.reading)
            read = network.tokenize(texts)
            with needed_positions(network, read, dropout=0.0), precision(self.precision, network.model):
                total += weight * network.outputs(read)
        return total


def weigh(network: Network, several: Sequence[Array], targets: NDArray[np.float64]) -> Array:
    """Weights (M,) of what teachers say of N rows, M times (N, K), that lower the loss of their sum most.

    The sum of the losses has a term _HELD / 2 * |v|^2 added, where the weights are softmax(v): of few rows they
    are nearly equal.
    """
    from scipy.optimize import minimize

    centre, spread = supervised.units(network)
    stacked = torch.from_numpy((np.stack(several).astype(np.float64) - centre) / spread)
    labels = supervised.standardised(network, targets).double()

    def objective(flat: Array) -> tuple[float, Array]:
        given = torch.from_numpy(flat.copy()).requires_grad_()
        pooled = torch.einsum("m,mnk->nk", torch.softmax(given, 0), stacked)
        total = network.task.label_loss(pooled, labels).sum() + _HELD / 2 * given.square().sum()
        (slope,) = torch.autograd.grad(total, given)
        return total.item(), slope.numpy()

    found = minimize(objective, np.zeros(len(several)), jac=True, method="L-BFGS-B").x
    return np.asarray(torch.softmax(torch.from_numpy(found), 0).numpy())
