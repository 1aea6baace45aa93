"""One label of several for a text."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.tasks.base import Array, Metric, Panel, Task

if TYPE_CHECKING:
    import torch

# Above this share of the rows, one class makes plain accuracy misleading.
_IMBALANCED = 0.8
_RARE = 5
_BINS = 10
# A validation set without a single mistake has no best temperature: sharper is always better. Bounded, soft targets
# stay soft.
_SHARPEST, _SOFTEST = 0.5, 5.0
_WHOLE = re.compile(r"-?[0-9]+\.0+")


@dataclass(frozen=True)
class TextClassification(Task):
    """Bound to class names in the order of the head's outputs."""

    labels: tuple[str, ...]

    name: ClassVar[str] = "text-classification"
    auto_model: ClassVar[str] = "AutoModelForSequenceClassification"
    pipeline_tag: ClassVar[str | None] = "text-classification"
    outputs: ClassVar[Literal["scores", "quantities"]] = "scores"
    default_loss: ClassVar[str] = "soft-cross-entropy"

    @classmethod
    def fit(cls, values: Sequence[Any]) -> TextClassification:
        bound = cls.named(values)
        names = bound.labels
        if len(names) < 2:
            found = f"only the class {names[0]!r} occurs" if names else "no labels at all occur"
            raise DataError(
                f"{found} in the training data",
                expected="at least two classes",
                cure="check `data.label`; for numbers use `task: text-regression`",
            )
        if len(names) > max(50, len(values) // 2):
            raise DataError(
                f"the label column holds {len(names):,} different values in {len(values):,} rows",
                expected="a class name that many rows share",
                cure="check `data.label`; for numbers use `task: text-regression`",
            )
        return bound

    @classmethod
    def named(cls, labels: Sequence[Any]) -> TextClassification:
        return cls(tuple(sorted({label_name(label) for label in labels}, key=_natural)))

    @classmethod
    def parse(cls, value: Any) -> str:
        return label_name(value)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> TextClassification:
        labels = value.get("labels")
        if not isinstance(labels, list | tuple) or not all(isinstance(label, str) for label in labels):
            raise ValueError("labels must be a list of names")
        if len(set(labels)) < max(2, len(labels)):
            raise ValueError("labels must be at least two names, no two the same")
        return cls(tuple(labels))

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "labels": list(self.labels)}

    def encode(self, value: Any) -> float:
        name = label_name(value)
        try:
            return float(self.labels.index(name))
        except ValueError:
            raise ValueError(f"the label {name!r} does not occur in the training data") from None

    def strata(self, targets: Array) -> NDArray[np.int64]:
        return np.asarray(targets, dtype=np.int64)

    def distribution(self, targets: Array) -> Panel:
        counts = np.bincount(np.asarray(targets, dtype=np.int64), minlength=len(self.labels))
        return Panel("histogram", "Rows per class", {"labels": list(self.labels), "counts": counts.tolist()})

    def warnings(self, targets: Array) -> list[str]:
        counts = np.bincount(np.asarray(targets, dtype=np.int64), minlength=len(self.labels))
        found = []
        if counts.max() > _IMBALANCED * counts.sum():
            top = self.labels[int(counts.argmax())]
            found.append(
                f"{counts.max() / counts.sum():.0%} of the training rows are {top!r}: read macro F1, not accuracy"
            )
        rare = [label for label, count in zip(self.labels, counts, strict=True) if count < _RARE]
        if rare:
            found.append(f"fewer than {_RARE} training rows: {', '.join(rare[:5])}")
        return found

    @property
    def width(self) -> int:
        return len(self.labels)

    def model_config(self) -> dict[str, Any]:
        return {
            "num_labels": len(self.labels),
            "id2label": dict(enumerate(self.labels)),
            "label2id": {label: index for index, label in enumerate(self.labels)},
            "problem_type": "single_label_classification",
        }

    def fits(self, config: Mapping[str, Any]) -> bool:
        """Same names in any order; `problem_type` is often left out by older models."""
        return sorted(_names(config)) == sorted(self.labels)

    def order(self, config: Mapping[str, Any]) -> list[int] | None:
        names = _names(config)
        return None if names == list(self.labels) else [names.index(label) for label in self.labels]

    def label_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        import torch.nn.functional as F

        return F.cross_entropy(outputs, targets.long(), reduction="none")

    def scale(self) -> tuple[float, float]:
        return 0.0, 1.0

    def temperature(self, outputs: Array, targets: Array) -> float:
        """Temperature scaling (Guo et al. 2017, arXiv 1706.04599): the T of least log-loss, by bounded search."""
        from scipy.optimize import minimize_scalar

        index = np.asarray(targets, dtype=np.int64)

        def loss(log_temperature: float) -> float:
            return log_loss(softmax(outputs / math.exp(log_temperature)), index)

        best = minimize_scalar(loss, bounds=(math.log(_SHARPEST), math.log(_SOFTEST)), method="bounded")
        return float(math.exp(best.x))

    def predict(self, outputs: Array) -> Array:
        return softmax(outputs)

    def confidence(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.softmax(dim=-1).amax(dim=-1)

    def expected_cost(self, predictions: Array, instead: Array) -> Array:
        return np.asarray(predictions.max(1) - predictions[np.arange(len(predictions)), instead.argmax(1)])

    def decode(self, predictions: Array) -> list[dict[str, Any]]:
        records = []
        for row in predictions.tolist():
            top = max(range(len(row)), key=row.__getitem__)
            records.append(
                {
                    "label": self.labels[top],
                    "score": row[top],
                    "scores": dict(zip(self.labels, row, strict=True)),
                }
            )
        return records

    def show(self, record: Mapping[str, Any]) -> str:
        return f"{record['label']} {record['score']:.2f}"

    def show_target(self, target: float) -> str:
        return self.labels[int(target)]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("accuracy", "Accuracy", accuracy, share=True),
            Metric("f1", "F1 (macro)", self._macro(2)),
            Metric("precision", "Precision (macro)", self._macro(0)),
            Metric("recall", "Recall (macro)", self._macro(1)),
            Metric("log_loss", "Log-loss", log_loss, higher_is_better=False, percent=False),
            Metric("calibration_error", "Calibration error", calibration_error, higher_is_better=False, inflated=True),
        )

    def _macro(self, which: int) -> Callable[[Array, Array], float]:
        """Mean over the classes that occur among targets or predictions, as scikit-learn's macro average."""

        def compute(predictions: Array, targets: Array) -> float:
            # Without the matrix of all pairs: of thousands of classes there are millions.
            said, wanted, size = predictions.argmax(1), np.asarray(targets, dtype=np.int64), predictions.shape[1]
            hits, predicted, actual = (
                np.bincount(some, minlength=size) for some in (said[said == wanted], said, wanted)
            )
            occurs = (predicted + actual) > 0
            return float(precision_recall_f1(hits, predicted, actual)[which][occurs].mean())

        return compute

    def guessing(self, targets: Array) -> float:
        return float(np.bincount(np.asarray(targets, dtype=np.int64)).max() / len(targets))

    def panels(self, predictions: Array, targets: Array) -> list[Panel]:
        counts = confusion(predictions, targets)
        precision, recall, f1 = precision_recall_f1(np.diag(counts), counts.sum(0), counts.sum(1))
        labels = list(self.labels)
        per_class = {
            "labels": labels,
            "precision": precision.tolist(),
            "recall": recall.tolist(),
            "f1": f1.tolist(),
            "support": counts.sum(1).tolist(),
        }
        return [
            Panel("confusion", "Confusion matrix", {"labels": labels, "counts": counts.tolist()}),
            Panel("per_class", "Per class", per_class),
            Panel("reliability", "Calibration", _reliability(predictions, targets)),
        ]

    def disagreement(self, one: Array, other: Array) -> NDArray[np.float64]:
        """Total variation distance where the top class differs, else 0."""
        distance = 0.5 * np.abs(one - other).sum(1)
        return np.where(one.argmax(1) != other.argmax(1), distance, 0.0)

    def baseline(self, seed: int) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=3.0, max_iter=1000, random_state=seed)

    def baseline_outputs(self, estimator: Any, features: Any) -> Array:
        """Log-probabilities, with a tiny one for classes that the fitted rows did not hold."""
        outputs = np.full((features.shape[0], self.width), -30.0, dtype=np.float32)
        outputs[:, estimator.classes_.astype(np.int64)] = estimator.predict_log_proba(features)
        return outputs


def _names(config: Mapping[str, Any]) -> list[str]:
    """The classes of a `transformers` configuration, in the order of its outputs."""
    names = config.get("id2label") or {}
    return [_named(names[key]) for key in sorted(names, key=int)]


def _named(label: Any) -> str:
    """As `label_name`; of what is no label, as it is written."""
    try:
        return label_name(label)
    except ValueError:
        return str(label)


def label_name(value: Any) -> str:
    """A raw label of any type as its name: 1, 1.0, "1" and "1.0" are the same class, True and "True" are "true".

    What looks the same in Unicode is the same.
    """
    if value is None:
        raise ValueError("the label is missing")
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a label")
        if float(value).is_integer():
            return str(int(value))
    name = unicodedata.normalize("NFC", str(value).strip())
    if not name:
        raise ValueError("the label is empty")
    if name in ("True", "False"):  # as pandas writes booleans into CSV
        return name.lower()
    # A column of numbers with a gap in it is written as 0.0 and 1.0.
    return name.partition(".")[0] if _WHOLE.fullmatch(name) else name


def softmax(outputs: Array) -> Array:
    """Rows (N, K) of scores as probabilities, in float64."""
    shifted = np.asarray(outputs, dtype=np.float64)
    shifted = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def accuracy(predictions: Array, targets: Array) -> float:
    """Share of the rows whose most probable class is the target."""
    return float((predictions.argmax(1) == targets).mean())


def log_loss(predictions: Array, targets: Array) -> float:
    """Mean negative log-probability of the target class, probabilities clipped at 1e-12."""
    chosen = predictions[np.arange(len(predictions)), np.asarray(targets, dtype=np.int64)]
    return float(-np.log(np.clip(chosen, 1e-12, None)).mean())


def confusion(predictions: Array, targets: Array) -> NDArray[np.int64]:
    """Counts (K, K): rows are targets, columns are predictions."""
    size = predictions.shape[1]
    flat = np.asarray(targets, dtype=np.int64) * size + predictions.argmax(1)
    return np.bincount(flat, minlength=size * size).reshape(size, size)


def precision_recall_f1(
    hits: NDArray[np.int64], predicted: NDArray[np.int64], actual: NDArray[np.int64]
) -> tuple[Array, Array, Array]:
    """Per class (K,), from how often it was rightly said, said, and wanted (K,); 0 where undefined, as scikit-learn's
    `zero_division=0`."""
    none = np.zeros(len(hits))
    precision = np.divide(hits, predicted, out=none.copy(), where=predicted > 0)
    recall = np.divide(hits, actual, out=none.copy(), where=actual > 0)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=none.copy(), where=total > 0)
    return precision, recall, f1


def calibration_error(predictions: Array, targets: Array) -> float:
    """Expected calibration error, 10 equal-width bins of confidence (Guo et al. 2017, arXiv 1706.04599)."""
    bins = _reliability(predictions, targets)
    gaps = np.abs(np.array(bins["confidence"]) - np.array(bins["accuracy"])) * np.array(bins["count"])
    return float(gaps.sum() / len(targets))


def _reliability(predictions: Array, targets: Array) -> dict[str, list[float]]:
    confidence = predictions.max(1)
    right = predictions.argmax(1) == targets
    place = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    count = np.bincount(place, minlength=_BINS)
    used = count > 0
    mean_confidence = np.bincount(place, confidence, _BINS)[used] / count[used]
    mean_right = np.bincount(place, right, _BINS)[used] / count[used]
    return {
        "confidence": mean_confidence.tolist(),
        "accuracy": mean_right.tolist(),
        "count": count[used].tolist(),
    }


def _natural(name: str) -> tuple[int, float, str]:
    """Numbers in numeric order, before names; "nan" is a name, for it would have no place among numbers."""
    try:
        number = float(name)
    except ValueError:
        number = math.nan
    return (1, 0.0, name) if math.isnan(number) else (0, number, name)
