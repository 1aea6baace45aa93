"""Measurements as a run would write them, with the panels that the real tasks draw."""

import copy

import numpy as np
import pytest

from tutelage.artifacts.measurements import Measurements
from tutelage.tasks import TextClassification, TextRegression
from tutelage.tasks.text_classification import softmax

COSTS = {
    "teacher": {
        "title": "Teacher",
        "describes": "BERT, 6 layers × 384, 30,522 tokens",
        "parameters": 22_713_986,
        "bytes": 90_900_000,
        "rows_per_second": {"pytorch": 171.3, "onnxruntime": 204.9},
        "batch_size": {"pytorch": 512, "onnxruntime": 512},
        "latency_ms": {"p50": 12.4, "p95": 21.7},
        "peak_memory_mb": 612.0,
    },
    "student": {
        "title": "Student",
        "describes": "BERT, 2 layers × 384, 8,213 tokens, int8",
        "parameters": 5_612_000,
        "bytes": 7_940_000,
        "rows_per_second": {"onnxruntime": 2114.8},
        "batch_size": {"onnxruntime": 2048},
        "latency_ms": {"p50": 1.02, "p95": 1.71},
        "peak_memory_mb": 118.0,
        "first_answer_seconds": 0.263,
    },
    "control": {
        "title": "No-distillation control",
        "describes": "BERT, 2 layers × 384, 8,213 tokens, fp32, on labels alone",
        "parameters": 5_612_000,
        "bytes": 7_940_000,
        "rows_per_second": {"onnxruntime": 2098.1},
        "batch_size": {"onnxruntime": 2048},
    },
    "baseline": {
        "title": "TF-IDF + linear model",
        "describes": "LogisticRegression, 41,200 n-grams",
        "parameters": 82_402,
        "bytes": 2_310_000,
        "rows_per_second": {"scikit-learn": 18_430.0},
        "batch_size": {"scikit-learn": 0},
    },
}
FIELDS = ("film", "prix", "شعر", "诗歌", "a_label_that_goes_on_and_on_without_any_space", "<b>bold</b>", "news")


@pytest.fixture
def classification():
    """A factory: classification(classes=2) -> a mapping as in measurements.json."""
    return lambda classes=2: copy.deepcopy(_classification(classes))


@pytest.fixture
def regression():
    return lambda: copy.deepcopy(_regression())


@pytest.fixture(params=["two classes", "twenty classes", "regression"])
def measurements(request, classification, regression):
    made = {"two classes": classification, "twenty classes": lambda: classification(20), "regression": regression}
    return Measurements.model_validate(made[request.param]())


def _classification(classes):
    names = (
        ("negative", "positive")
        if classes == 2
        else [f"{FIELDS[i % len(FIELDS)]}{'' if i < len(FIELDS) else i}" for i in range(classes)]
    )
    task = TextClassification(tuple(names))
    rng = np.random.default_rng(0)
    targets = rng.choice(classes, 2568, p=_shares(classes))
    sharpness = {"teacher": 3.2, "student": 2.9, "control": 2.6, "baseline": 2.1}
    outputs = {
        role: softmax(rng.normal(0, 1.3, (len(targets), classes)) + k * np.eye(classes)[targets])
        for role, k in sharpness.items()
    }
    value = _common(task, outputs, targets)
    value["disagreements"] = [
        _row("An unbearably clever film, if you can stand it.", "positive", "positive 0.93", "negative 0.61"),
        _row("<script>alert('no')</script> <b>not bold</b> & so on", "negative", "negative 0.88", "positive 0.7"),
        _row("الفيلم رائع ولكن النهاية مخيبة للآمال.", "negative", "negative 0.71", "positive 0.66"),
        _row("这部电影的前半段很精彩,后半段却让人昏昏欲睡。", "negative", "negative 0.8", "positive 0.52"),
        _row("It goes on and on, and on. " * 900, "negative", "negative 0.99", "positive 0.5"),
        _row("nospacesatall" * 60, "positive", "positive 0.99", "negative 0.5"),
    ]
    return value


def _regression():
    rng = np.random.default_rng(1)
    targets = rng.normal(0.2, 1.7, 2568).clip(-4, 4)
    task = TextRegression(0.2, 1.7)
    spread = {"teacher": 0.9, "student": 1.0, "control": 1.1, "baseline": 1.4}
    outputs = {role: 0.8 * targets + rng.normal(0, s, len(targets)) for role, s in spread.items()}
    value = _common(task, outputs, targets)
    value["disagreements"] = [_row("A quiet triumph.", "3.1", "2.85", "1.02")]
    return value


def _common(task, outputs, targets):
    models = {}
    for role, predictions in outputs.items():
        models[role] = {
            **copy.deepcopy(COSTS[role]),
            "scores": {metric.name: _score(metric, predictions, targets) for metric in task.metrics},
            "panels": [
                {"kind": panel.kind, "title": panel.title, "data": dict(panel.data)}
                for panel in task.panels(predictions, targets)
            ],
        }
    head = task.headline
    value = {role: head.compute(predictions, targets) for role, predictions in outputs.items()}
    kept, gain = value["student"] / value["teacher"], value["student"] - value["control"]
    spread = task.distribution(targets)
    split = {"distribution": {"kind": spread.kind, "title": spread.title, "data": dict(spread.data)}}
    return {
        "schema": 1,
        "tutelage": "0.1.0",
        "created": "2025-11-22T01:12:00+00:00",
        "task": task.name,
        "headline": head.name,
        "metrics": [
            {"name": m.name, "title": m.title, "higher_is_better": m.higher_is_better, "percent": m.percent}
            for m in task.metrics
        ],
        "machine": {
            "cpu": "Imaginary 2-core",
            "cores": 2,
            "threads": 2,
            "memory_gb": 23.4,
            "system": "Linux 6.1",
            "python": "3.11.2",
            "torch": "2.13.0",
            "transformers": "5.5.0",
            "onnxruntime": "1.20.1",
        },
        "models": models,
        "retention": {"value": kept, "low": kept - 0.011, "high": kept + 0.011},
        "against_control": {"value": gain, "low": gain - 0.009, "high": gain + 0.009},
        "speedup": {"value": 12.345, "of": "student in onnxruntime", "over": "teacher in pytorch"},
        "smaller": 90.9 / 7.94,
        "choices": [
            {
                "what": "quantization",
                "taken": "int8",
                "why": "1.6 × faster here at −0.1 points",
                "figures": {"fp32_rows_per_second": 1322.4, "int8_rows_per_second": 2114.8, "parity": 2.1e-6},
            },
            {"what": "student size", "taken": "2 × 384", "why": "the recipe's `auto` for 8,000 rows"},
        ],
        "data": {
            "splits": {
                "train": {"rows": 7200, **split, "characters": {"median": 112, "p95": 214, "max": 268}},
                "validation": {
                    "rows": 800,
                    "made_from_train": True,
                    **split,
                    "characters": {"median": 110, "p95": 212, "max": 261},
                },
                "test": {"rows": 2568, **split, "characters": {"median": 113, "p95": 215, "max": 267}},
            },
            "roles": {
                "train": {
                    "read": 8035,
                    "bad": {"the text is empty": 3},
                    "duplicates": 31,
                    "conflicts": 2,
                    "overlap": 4,
                },
                "test": {"read": 2568, "bad": {}, "duplicates": 0, "conflicts": 0, "overlap": 0},
            },
            "warnings": ["4 training rows were also in test and have been dropped from training"],
        },
        "times": {"data": 2.1, "teacher": 97.3, "signals": 21.0, "student": 61.4, "control": 48.8, "export": 8.0},
        "history": {
            "teacher": [{"epoch": 1, "loss": 0.47, "score": 0.82}, {"epoch": 2, "loss": 0.31, "score": 0.842}],
            "student": [{"epoch": e, "loss": 0.9 / e**0.5, "score": 0.83 - 0.1 / e} for e in range(1, 7)],
            "control": [{"epoch": e, "loss": 0.7 / e, "score": 0.81 - 0.09 / e} for e in range(1, 7)],
        },
        "recipe": {
            "task": task.name,
            "data": {
                "train": ["reviews.csv"],
                "text": "text",
                "label": "label",
                "max_tokens": 256,
                "long_text": "truncate",
            },
            "teacher": {"model": "minilm", "epochs": 2},
            "student": {"size": "auto"},
            "output": "runs/my reviews",
            "seed": 0,
        },
    }


def _score(metric, predictions, targets):
    value, margin = metric.compute(predictions, targets), 0.013
    return {"value": value, "low": value - margin, "high": value + margin}


def _row(text, label, teacher, student):
    return {"text": text, "label": label, "teacher": teacher, "student": student, "distance": 0.5}


def _shares(classes):
    weights = 1 / np.arange(1, classes + 1) ** 0.5
    return weights / weights.sum()
