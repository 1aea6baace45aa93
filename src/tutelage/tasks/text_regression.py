"""A number for a text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.tasks.base import Array, Metric, Panel, Task

if TYPE_CHECKING:
    import torch

_STRATA = 10
# How far apart two samples of one quantity are: their means in standard deviations, those as a factor.
_SAME_MEAN, _SAME_STD = 0.5, 2.0
_SCATTER_POINTS = 1500
# Students are told apart by users when they differ by more than this many standard deviations of the target.
_VISIBLE = 0.5


@dataclass(frozen=True)
class TextRegression(Task):
    """Bound to the centre and spread of the training targets, in the user's own unit."""

    mean: float
    std: float

    name: ClassVar[str] = "text-regression"
    auto_model: ClassVar[str] = "AutoModelForSequenceClassification"
    outputs: ClassVar[Literal["scores", "quantities"]] = "quantities"
    default_loss: ClassVar[str] = "huber"

    @classmethod
    def fit(cls, values: Sequence[Any]) -> TextRegression:
        numbers = []
        for value in values:
            try:
                numbers.append(_number(value))
            except ValueError as error:
                raise DataError(
                    f"the label column holds {value!r}",
                    expected="a number in every row",
                    cure="check `data.label`; for names use `task: text-classification`",
                ) from error
        if not numbers:
            raise DataError(
                "no labels at all occur in the training data",
                expected="a number in every row",
                cure="check `data.label`",
            )
        low, high = min(numbers), max(numbers)
        with np.errstate(over="ignore", invalid="ignore"):
            spread = float(np.std(numbers))
        # The deviation of equal numbers may come out as 1e-17, and that of huge ones as infinite.
        if low == high or not 0 < spread < math.inf:
            raise DataError(
                f"all training labels are {low:g}" if low == high else f"labels reach from {low:g} to {high:g}",
                expected="numbers that differ, of ordinary size",
                cure="check `data.label`",
            )
        return cls(float(np.mean(numbers)), spread)

    @classmethod
    def parse(cls, value: Any) -> float:
        return _number(value)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> TextRegression:
        mean, std = value.get("mean", math.nan), value.get("std", math.nan)
        numbers = all(isinstance(number, int | float) and math.isfinite(number) for number in (mean, std))
        if not numbers or std <= 0:
            raise ValueError("mean and std must be finite numbers, std above 0")
        return cls(float(mean), float(std))

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "mean": self.mean, "std": self.std}

    def encode(self, value: Any) -> float:
        return _number(value)

    def strata(self, targets: Array) -> NDArray[np.int64]:
        """Tenths of the distribution."""
        edges = np.quantile(targets, np.linspace(0, 1, _STRATA + 1)[1:-1])
        return np.searchsorted(edges, targets).astype(np.int64)

    def distribution(self, targets: Array) -> Panel:
        counts, edges = np.histogram(targets, bins=20)
        labels = [_written((low + high) / 2, edges[1] - edges[0]) for low, high in itertools.pairwise(edges)]
        return Panel("histogram", "Distribution of the target", {"labels": labels, "counts": counts.tolist()})

    @property
    def width(self) -> int:
        return 1

    def model_config(self) -> dict[str, Any]:
        return {"num_labels": 1, "problem_type": "regression", "target_mean": self.mean, "target_std": self.std}

    def fits(self, config: Mapping[str, Any]) -> bool:
        """One output that was trained as a quantity."""
        names = config.get("id2label") or {}
        return len(names) == 1 and config.get("problem_type") == "regression"

    def knows(self, config: Mapping[str, Any]) -> bool:
        """Values of about the same mean and spread, where the configuration names them."""
        mean, std = config.get("target_mean"), config.get("target_std")
        if not isinstance(mean, int | float) or not isinstance(std, int | float):
            return False
        return abs(mean - self.mean) <= _SAME_MEAN * self.std and std / _SAME_STD < self.std < std * _SAME_STD

    def label_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        import torch.nn.functional as F

        return F.mse_loss(outputs.squeeze(-1), targets.to(outputs.dtype), reduction="none")

    def scale(self) -> tuple[float, float]:
        return self.mean, self.std

    def temperature(self, outputs: Array, targets: Array) -> float:  # noqa: ARG002 - a quantity has none
        return 1.0

    def predict(self, outputs: Array) -> Array:
        return np.asarray(outputs, dtype=np.float64).reshape(len(outputs))

    def decode(self, predictions: Array) -> list[dict[str, Any]]:
        return [{"value": value} for value in predictions.tolist()]

    def show(self, record: Mapping[str, Any]) -> str:
        return _written(record["value"], self.std)

    def show_target(self, target: float) -> str:
        return _written(target, self.std)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("pearson", "Pearson's r", pearson, percent=False),
            Metric("spearman", "Spearman's rho", spearman, percent=False),
            Metric("mae", "Mean absolute error", mean_absolute_error, higher_is_better=False, percent=False),
            Metric(
                "rmse",
                "Root mean squared error",
                root_mean_squared_error,
                higher_is_better=False,
                percent=False,
            ),
        )

    def guessing(self, targets: Array) -> float:  # noqa: ARG002 - what does not change goes together with nothing
        return 0.0

    def panels(self, predictions: Array, targets: Array) -> list[Panel]:
        keep = np.linspace(0, len(targets) - 1, min(len(targets), _SCATTER_POINTS)).astype(np.int64)
        scatter = {
            "x": _short(targets[keep]),
            "y": _short(predictions[keep]),
            "x_title": "Label",
            "y_title": "Prediction",
        }
        return [Panel("scatter", "Prediction against label", scatter)]

    def disagreement(self, one: Array, other: Array) -> NDArray[np.float64]:
        """Absolute difference in standard deviations of the target, where it is visible, else 0."""
        distance = np.abs(one - other) / self.std
        return np.where(distance > _VISIBLE, distance, 0.0)

    def baseline(self, seed: int) -> Any:
        from sklearn.linear_model import Ridge

        return Ridge(alpha=1.0, random_state=seed)

    def baseline_outputs(self, estimator: Any, features: Any) -> Array:
        return np.asarray(estimator.predict(features), dtype=np.float32).reshape(-1, 1)


def pearson(predictions: Array, targets: Array) -> float:
    """Linear correlation; 0 when either side does not vary."""
    if np.ptp(predictions) == 0 or np.ptp(targets) == 0:
        return 0.0  # what rounding leaves of equal numbers would correlate with anything
    one, other = predictions - predictions.mean(), targets - targets.mean()
    norm = math.sqrt(float((one * one).sum())) * math.sqrt(float((other * other).sum()))
    return min(1.0, max(-1.0, float((one * other).sum()) / norm)) if norm > 0 else 0.0


def spearman(predictions: Array, targets: Array) -> float:
    """Correlation of the ranks, ties averaged."""
    from scipy.stats import rankdata

    return pearson(rankdata(predictions), rankdata(targets))


def mean_absolute_error(predictions: Array, targets: Array) -> float:
    """Mean distance, in the target's unit."""
    return float(np.abs(predictions - targets).mean())


def root_mean_squared_error(predictions: Array, targets: Array) -> float:
    """Root of the mean squared distance, in the target's unit."""
    return math.sqrt(float(np.square(predictions - targets).mean()))


def _short(values: Array) -> list[float]:
    """Six digits: more than a drawing shows, whatever the unit."""
    return [float(f"{value:.6g}") for value in values.tolist()]


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError(f"{value} is not a number")  # noqa: TRY004 - one kind of error for bad labels
    try:
        number = float(str(value).strip())
    except ValueError:
        raise ValueError(f"{value!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    return number


def _written(value: float, step: float) -> str:
    """With as many decimals as tell apart what differs by a hundredth of a step: 2021.3, 245310, 0.00417.

    What is smaller than that keeps three digits.
    """
    if 0 < abs(value) < step / 100:
        return f"{value:.3g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(step)))}f}"
