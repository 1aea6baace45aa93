"""A small model with dropout that learns something in a moment, and what a kill is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tutelage.progress import Silent
from tutelage.recipe_training import TrainingRecipe
from tutelage.training import checkpoint
from tutelage.training.loop import Work, train
from tutelage.training.regime import Regime

ROWS = 60
_random = torch.Generator().manual_seed(0)
X = torch.randn(ROWS, 6, generator=_random)
Y = (X[:, 0] - X[:, 1] > 0).long()


def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.0), nn.LayerNorm(8), nn.Linear(8, 2))


def plan(epoch: int) -> list[np.ndarray]:
    order = np.random.default_rng(epoch).permutation(ROWS)
    return [order[i : i + 16] for i in range(0, ROWS, 16)]


def loss(network: nn.Module, rows: np.ndarray, done: float) -> torch.Tensor:
    return nn.functional.cross_entropy(network(X[rows]), Y[rows], reduction="sum")


def accuracy(network: nn.Module) -> float:
    with torch.inference_mode():
        return float((network(X).argmax(1) == Y).float().mean())


def work(**changes: Any) -> Work:
    return Work(**{"title": "test", "fingerprint": "a", "plan": plan, "loss": loss, "validate": accuracy, **changes})


def settings(**changes: Any) -> TrainingRecipe:
    return TrainingRecipe(**{"epochs": 3, "learning_rate": 0.01, "patience": None, "dropout": 0.2, **changes})


def fit(folder: Path, given: Work | None = None, **changes: Any) -> tuple[nn.Module, checkpoint.State]:
    network = model()
    state = train(network, given or work(), settings(**changes), seed=0, folder=folder, progress=Silent())
    return network, state


def gradients(
    folder: Path, *, parts: int, training: dict[str, Any] | None = None, **changes: Any
) -> list[torch.Tensor]:
    """What one step over the first batch leaves in every parameter, unclipped, when it is cut into so many parts."""
    network, found = model(), list[torch.Tensor]()

    def note(step: int, total: int) -> None:
        found.extend(value.grad.clone() for value in network.parameters() if value.grad is not None)

    optimizer = torch.optim.AdamW(network.parameters(), lr=1, fused=True)
    checkpoint.save(folder, checkpoint.State("a", parts=parts), network, optimizer)
    given = work(**{"validate": None, "plan": lambda _: plan(0)[:1], "regime": Regime(after_step=note), **changes})
    asked = settings(epochs=1, dropout=0.0, clip=1e6, **(training or {}))
    train(network, given, asked, seed=0, folder=folder, progress=Silent())
    assert len(found) == len(list(network.parameters()))
    return found


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def killed_at(step: int, function: Callable[..., Any]) -> Callable[..., Any]:
    calls = iter(range(10**6))

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == step:
            raise Killed
        return function(*args, **kwargs)

    return wrapped
