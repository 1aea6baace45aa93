"""What a task is. A stage never asks which task it serves: it calls these.

A task is bound to its labels: `fit` looks at raw label values and returns the bound task, `to_dict` / `from_dict`
carry it through a run and a bundle. Importing a task imports neither torch nor scikit-learn; the few methods that
compute on tensors import them when called.

Shapes: B rows of a batch, N rows of a split, K outputs of the head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    `compute` takes predictions and targets, as `Task.predict` and `Task.encode` give them, and returns one number.
    """

    name: str
    title: str
    compute: Callable[[Array, Array], float]
    higher_is_better: bool = True
    percent: bool = True
    share: bool = False
    """The share of the rows that are right."""
    inflated: bool = False
    """A sum of sizes of differences: resampling rows adds to it, since what is noise in them does not cancel out."""


@dataclass(frozen=True)
class Panel:
    """Something of a model's predictions worth drawing; the report knows the kinds, not the tasks.

    kinds: `confusion` {"labels", "counts"}; `per_class` {"labels", "precision", "recall", "f1", "support"};
    `scatter` {"x", "y", "x_title", "y_title"}; `reliability` {"confidence", "accuracy", "count"};
    `histogram` {"labels", "counts"}.
    """

    kind: str
    title: str
    data: Mapping[str, Any]


class Task(ABC):
    """A task bound to its labels. Subclasses are final, frozen dataclasses."""

    name: ClassVar[str]
    auto_model: ClassVar[str]
    """Name of the `transformers` auto class whose head fits."""
    pipeline_tag: ClassVar[str | None] = None
    """What the Hugging Face hub calls the task; None where it has no name for it."""
    outputs: ClassVar[Literal["scores", "quantities"]]
    """What the head gives: scores, of which a softmax makes probabilities, or quantities."""
    default_loss: ClassVar[str]
    """Name of the loss in `student/losses/` that follows the teacher's outputs."""

    # --- labels ------------------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def fit(cls, values: Sequence[Any]) -> Task:
        """Bind to the raw label values of the training rows (missing ones left out).

        Raises `DataError` when they cannot make a task (one class only, not numbers ...).
        """

    @classmethod
    def named(cls, labels: Sequence[str]) -> Task:
        """Bind to classes that are known by name, where the training rows have no labels yet."""
        return cls.fit(labels)

    @classmethod
    @abstractmethod
    def parse(cls, value: Any) -> Any:
        """A raw label in the one form that `fit` and `encode` take too; raises `ValueError` with the reason.

        Tells a label that is no label (a bad row) from one that training does not know.
        """

    @classmethod
    @abstractmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Task:
        """The inverse of `to_dict`; raises `ValueError` when the mapping is not of this task."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable; has the key `name`."""

    @abstractmethod
    def encode(self, value: Any) -> float:
        """A raw label as a target number; raises `ValueError` with the reason when it cannot be one."""

    @abstractmethod
    def strata(self, targets: Array) -> NDArray[np.int64]:
        """Targets (N,) as small integers whose shares a split should keep."""

    @abstractmethod
    def distribution(self, targets: Array) -> Panel:
        """How the targets are spread, as a `histogram` panel."""

    def warnings(self, targets: Array) -> list[str]:  # noqa: ARG002 - siblings use it
        """What is worth knowing about the training targets before training, one sentence each."""
        return []

    # --- model -------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def width(self) -> int:
        """K, the number of outputs of the head."""

    @abstractmethod
    def model_config(self) -> dict[str, Any]:
        """Settings for `transformers` configurations (num_labels, id2label, problem_type ...)."""

    def fits(self, config: Mapping[str, Any]) -> bool:
        """Whether a `transformers` configuration has a head for exactly these labels."""
        return all(_plain(config.get(key)) == _plain(value) for key, value in self.model_config().items())

    def order(self, config: Mapping[str, Any]) -> list[int] | None:  # noqa: ARG002 - of those with classes
        """Which output of a head that fits stands for each of ours, in order; None where it is the same."""
        return None

    def knows(self, config: Mapping[str, Any]) -> bool:  # noqa: ARG002 - of those with values
        """Whether a head that fits surely answers what is asked; names of classes say so, and numbers have none."""
        return True

    # --- training: tensors in the model's own units ----------------------------------------------------------------

    @abstractmethod
    def label_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Per-row loss (B,) of outputs (B, K) against targets (B,)."""

    @abstractmethod
    def scale(self) -> tuple[float, float]:
        """(centre, spread) of the targets: a head is trained on (target - centre) / spread.

        (0, 1) where outputs are scores rather than quantities.
        """

    @abstractmethod
    def temperature(self, outputs: Array, targets: Array) -> float:
        """The number by which to divide outputs (N, K) so that they are best calibrated on targets (N,)."""

    # --- predictions -------------------------------------------------------------------------------------------

    @abstractmethod
    def predict(self, outputs: Array) -> Array:
        """Outputs (N, K) as predictions: probabilities (N, K) or values (N,)."""

    def confidence(self, outputs: torch.Tensor) -> torch.Tensor | None:  # noqa: ARG002 - siblings use it
        """How sure calibrated outputs (B, K) are of their answer (B,), traceable; None where a task cannot tell."""
        return None

    def expected_cost(self, predictions: Array, instead: Array) -> Array:
        """What of the headline score each row (N,) is expected to cost when answered with `instead`, if the
        probabilities of `predictions` are right. Only for tasks with a confidence."""
        raise NotImplementedError(f"{self.name} has no confidence")

    @abstractmethod
    def decode(self, predictions: Array) -> list[dict[str, Any]]:
        """Predictions as the records that users read, one a row."""

    @abstractmethod
    def show(self, record: Mapping[str, Any]) -> str:
        """One record of `decode` in a few characters, for people."""

    @abstractmethod
    def show_target(self, target: float) -> str:
        """A target in a few characters, for people."""

    def pool(self, outputs: Array, owner: NDArray[np.int64], rows: int) -> Array:
        """Average the outputs (S, K) of several windows over the row (S,) each belongs to -> (rows, K)."""
        total = np.zeros((rows, outputs.shape[1]), dtype=np.float64)
        np.add.at(total, owner, outputs)
        count = np.bincount(owner, minlength=rows).astype(np.float64)
        return np.asarray((total / np.maximum(count, 1)[:, None]).astype(np.float32))

    # --- evaluation --------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """Figures of merit, the headline first."""

    @property
    def headline(self) -> Metric:
        """The one that retention is computed with and that chooses the best checkpoint."""
        return self.metrics[0]

    @abstractmethod
    def guessing(self, targets: Array) -> float:
        """The headline score of whoever gives every row (N,) the one answer that suits most of them."""

    @abstractmethod
    def panels(self, predictions: Array, targets: Array) -> list[Panel]:
        """What to draw of one model's predictions."""

    @abstractmethod
    def disagreement(self, one: Array, other: Array) -> NDArray[np.float64]:
        """How far two predictions differ on each row (N,); 0 where a user would see no difference."""

    @abstractmethod
    def baseline(self, seed: int) -> Any:
        """An unfitted scikit-learn estimator that takes sparse TF-IDF rows and targets."""

    @abstractmethod
    def baseline_outputs(self, estimator: Any, features: Any) -> Array:
        """Outputs (N, K) of the fitted baseline, in the same units as a model's."""


def _plain(value: Any) -> Any:
    """Make JSON's string keys and Python's integer keys compare equal."""
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else value
