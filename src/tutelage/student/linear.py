"""A linear model over tokens and pairs of neighbouring tokens, fitted to the end.

It takes about a second on thousands of texts, and has one optimum: what it learns depends on the lesson alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.artifacts.network import Network
from tutelage.artifacts.tokens import Tokens
from tutelage.artifacts.wide import features

# Pairs of tokens share this many rows, fewer when there are many outputs.
_BUCKETS, _NUMBERS = 2**17, 2**20
_ITERATIONS = 60

Array = NDArray[np.float64]
RowLoss = Callable[[torch.Tensor], torch.Tensor]
"""Outputs (N, K) in training units -> one loss a row (N,)."""


@dataclass(frozen=True)
class Pupil:
    """A linear model that has learned."""

    weights: Array
    """(features,): what each counts for, by its rarity."""
    table: Array
    bias: Array

    def outputs(self, rows: Any) -> Array:
        """Sparse rows (N, features) -> (N, K), in training units."""
        return np.asarray(rows.multiply(self.weights).tocsr() @ self.table + self.bias)


def taught(rows: Any, loss: RowLoss, outputs: int, strength: float = 1.0) -> Pupil:
    """A linear model with K outputs that learned from sparse rows (N, features) alone, rarity included."""
    weights = rarity(rows)
    return Pupil(weights, *fit(rows.multiply(weights).tocsr(), loss, outputs, strength))


def read(network: Network, tokens: Tokens) -> Any:
    """The sparse rows (N, features) of a network's tokens."""
    return features(tokens, vocabulary=int(network.model.config.vocab_size), buckets=buckets(network.task.width))


def buckets(outputs: int) -> int:
    """Rows of the table that all pairs share, for K outputs."""
    return int(2 ** np.floor(np.log2(min(_BUCKETS, max(_NUMBERS // outputs, 1024)))))


def rarity(rows: Any) -> Array:
    """Inverse document frequency of every feature, smoothed; 0 for those that never occur."""
    count = np.bincount(rows.indices, minlength=rows.shape[1])
    return np.where(count > 0, np.log((1 + rows.shape[0]) / (1 + count)) + 1, 0.0)


def fit(rows: Any, loss: RowLoss, outputs: int, strength: float) -> tuple[Array, Array]:
    """Weights (features, K) and bias (K,) of least mean loss + strength / N * |weights|^2 / 2, by L-BFGS."""
    from scipy.optimize import minimize

    used = np.unique(rows.indices)
    inner = rows[:, used]
    turned = inner.T.tocsr()
    count, held = inner.shape[0], strength / inner.shape[0]

    def objective(flat: Array) -> tuple[float, Array]:
        weights, bias = flat[:-outputs].reshape(-1, outputs), flat[-outputs:]
        answers = torch.from_numpy(inner @ weights + bias).requires_grad_()
        total = loss(answers).sum() / count
        (slope,) = torch.autograd.grad(total, answers)
        gradient = slope.numpy()
        value = total.item() + held / 2 * float((weights**2).sum())
        return value, np.concatenate([(turned @ gradient + held * weights).ravel(), gradient.sum(0)])

    start = np.zeros((len(used) + 1) * outputs)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS}).x
    weights = np.zeros((rows.shape[1], outputs))
    weights[used] = found[:-outputs].reshape(-1, outputs)
    return weights, found[-outputs:]
