"""Labels of any type, figures equal to scikit-learn's, and predictions that do not depend on their company."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax as scipy_softmax
from scipy.stats import chisquare
from sklearn import metrics as sk

from tutelage import tasks
from tutelage.errors import DataError
from tutelage.tasks import TextClassification
from tutelage.tasks.text_classification import calibration_error, label_name, log_loss, softmax

CLASSES = ("bad", "fair", "good", "never seen")


def task(*labels: str) -> TextClassification:
    return TextClassification(labels or CLASSES)


def random_case(rows: int = 200, *, seed: int = 0, absent: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, 4) and targets (N,); with `absent`, the last class is neither a target nor predicted."""
    random = np.random.default_rng(seed)
    outputs = random.normal(size=(rows, 4))
    targets = random.integers(0, 3 if absent else 4, size=rows).astype(np.float64)
    outputs[np.arange(rows), targets.astype(int)] += 1
    if absent:
        outputs[:, 3] -= 50
    return task().predict(outputs), targets


# --- labels ------------------------------------------------------------------------------------------------------


def test_classes_that_are_known_by_name_may_be_many() -> None:
    names = [f"intent {number}" for number in range(77)]
    assert set(TextClassification.named(names).labels) == set(names)
    with pytest.raises(DataError, match="77 different values in 77 rows"):
        TextClassification.fit(names)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        (" 1\n", "1"),
        (np.int64(1), "1"),
        (np.uint8(1), "1"),
        (np.float32(1), "1"),
        (Decimal(1), "1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (np.float32(0.5), "0.5"),
        (10**30, "1" + "0" * 30),
        (True, "true"),
        (np.True_, "true"),
        (False, "false"),
        # As pandas writes a column of booleans.
        ("True", "true"),
        ("False", "false"),
        ("cafe\u0301", "caf\u00e9"),
        (np.str_("pos"), "pos"),
        ("好评", "好评"),
        ("  very good  ", "very good"),
        ("a\tb", "a\tb"),
        ("nan", "nan"),
        # As pandas writes a column of numbers with a gap in it.
        ("1.0", "1"),
        ("-2.00", "-2"),
        ("v1.0", "v1.0"),
        ("1.5", "1.5"),
        ("1.0.0", "1.0.0"),
    ],
)
def test_a_label_of_any_type_has_one_name(value: Any, name: str) -> None:
    assert label_name(value) == TextClassification.parse(value) == name
    assert type(label_name(value)) is str


@pytest.mark.parametrize("value", [None, "", "  ", "\u3000", float("nan"), float("inf"), np.float32("nan")])
def test_what_is_no_label_says_so(value: Any) -> None:
    with pytest.raises(ValueError, match="label"):
        TextClassification.parse(value)


def test_equal_labels_of_different_types_are_one_class() -> None:
    bound = TextClassification.fit([1, 1.0, "1", np.int8(1), 0, "0", False, "false"])
    assert bound.labels == ("0", "1", "false")
    assert [bound.encode(value) for value in (0, 1.0, " 1 ", False)] == [0, 1, 1, 2]


def test_classes_are_in_natural_order_whatever_the_order_of_the_rows() -> None:
    values = ["10", 9, "2.5", "b", "nan", "a", -1, "NaN", "好"]
    expected = ("-1", "2.5", "9", "10", "NaN", "a", "b", "nan", "好")
    random = np.random.default_rng(0)
    for _ in range(50):
        assert TextClassification.fit([values[i] for i in random.permutation(len(values))]).labels == expected


def test_the_order_of_classes_does_not_depend_on_the_hash_seed() -> None:
    code = "from tutelage.tasks import TextClassification as T; print(T.fit(['nan', 'b', '3', 'NAN', '1', 'a']).labels)"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert len(seen) == 1


@pytest.mark.parametrize("order", list(permutations(["x", "y", "z"])))
def test_encoding_gives_the_place_of_the_class(order: tuple[str, ...]) -> None:
    bound = TextClassification(order)
    assert [bound.encode(label) for label in order] == [0.0, 1.0, 2.0]
    assert [bound.show_target(bound.encode(label)) for label in order] == list(order)


def test_a_label_unseen_in_training_is_named() -> None:
    with pytest.raises(ValueError, match="'neutral' does not occur in the training data"):
        task("neg", "pos").encode("neutral")
    with pytest.raises(ValueError, match="empty"):
        task("neg", "pos").encode(" ")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([], "no labels at all"),
        (["pos"] * 9, "only the class 'pos' occurs"),
        ([1, 1.0, "1"], "only the class '1' occurs"),
        ([f"review {i}" for i in range(500)], "500 different values in 500 rows"),
    ],
)
def test_labels_that_make_no_task_are_a_data_error_with_the_cure(values: list[Any], match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        TextClassification.fit(values)
    assert "data.label" in caught.value.cure
    assert "text-regression" in caught.value.cure


def test_many_classes_are_fine_when_rows_share_them() -> None:
    assert TextClassification.fit([f"intent {i}" for i in range(150)] * 2).width == 150
    assert TextClassification.fit([f"intent {i}" for i in range(50)]).width == 50


LABELS = st.lists(st.text(min_size=1).filter(lambda x: x.strip()), min_size=2, max_size=8)


@given(LABELS.filter(lambda labels: len({label.strip() for label in labels}) > 1))
def test_a_task_survives_json_and_every_label_finds_its_way(labels: list[str]) -> None:
    bound = TextClassification.fit(labels)
    again = tasks.from_dict(json.loads(json.dumps(bound.to_dict())))
    assert again == bound
    assert [bound.labels[int(again.encode(label))] for label in labels] == [label_name(label) for label in labels]


@pytest.mark.parametrize(
    "labels", [None, "pos", 3, {}, [], ["pos"], ["pos", 1], ["pos", None], ["pos", "pos"], ["a", "b", "a"]]
)
def test_a_description_without_usable_labels_is_refused(labels: Any) -> None:
    with pytest.raises(ValueError, match="labels must be"):
        tasks.from_dict({"name": "text-classification", "labels": labels})
    with pytest.raises(ValueError, match="labels must be"):
        tasks.from_dict({"name": "text-classification"})


def test_an_unknown_task_is_refused_with_those_known() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'mind-reading'; known: text-classification, text-regression"):
        tasks.from_dict({"name": "mind-reading"})
    with pytest.raises(ValueError, match="unknown task None"):
        tasks.from_dict({})


def test_targets_are_counted_by_class() -> None:
    targets = np.array([0, 2, 2, 0, 0], dtype=np.float64)
    assert task().strata(targets).tolist() == [0, 2, 2, 0, 0]
    panel = task().distribution(targets)
    assert (panel.kind, panel.data) == ("histogram", {"labels": list(CLASSES), "counts": [3, 0, 2, 0]})


def test_imbalance_and_rare_classes_are_told() -> None:
    two = task("neg", "pos")
    assert two.warnings(np.array([0.0, 1.0] * 10)) == []
    (imbalance,) = two.warnings(np.array([0.0] * 90 + [1.0] * 10))
    assert "90%" in imbalance
    assert "'neg'" in imbalance
    assert two.warnings(np.array([0.0] * 8 + [1.0] * 4)) == ["fewer than 5 training rows: pos"]


# --- model -------------------------------------------------------------------------------------------------------


def config(**more: Any) -> dict[str, Any]:
    from transformers import BertConfig

    return BertConfig(**more).to_dict()


def test_the_model_config_makes_a_transformers_head_for_these_labels() -> None:
    bound = task("neg", "pos", "好评")
    made = config(**bound.model_config())
    assert made["id2label"] == {0: "neg", 1: "pos", 2: "好评"}
    assert made["label2id"] == {"neg": 0, "pos": 1, "好评": 2}
    assert made["problem_type"] == "single_label_classification"
    assert bound.width == 3
    assert bound.fits(made)
    assert bound.fits(json.loads(json.dumps(made)))  # as config.json has it: keys are strings


def test_a_model_fits_only_with_the_same_names() -> None:
    bound = task("neg", "pos")
    names = {0: "neg", 1: "pos"}
    assert bound.fits(config(id2label=names))
    assert bound.order(config(id2label=names)) is None
    assert bound.fits(config(id2label={0: "pos", 1: "neg"}))
    assert bound.order(config(id2label={0: "pos", 1: "neg"})) == [1, 0]
    assert not bound.fits(config(id2label={**names, 2: "neutral"}))
    assert not bound.fits(config(id2label={0: "NEG", 1: "POS"}))
    assert not bound.fits(config())
    assert not bound.fits({})
    assert not bound.fits({"id2label": None})
    assert task("LABEL_0", "LABEL_1").fits(config())


def test_guessing_is_the_one_answer_that_suits_most() -> None:
    assert task("a", "b", "c").guessing(np.array([0.0, 2.0, 2.0, 2.0, 1.0])) == 0.6


def test_ten_labels_are_in_numeric_order() -> None:
    bound = task(*(f"c{i}" for i in range(12)))
    assert bound.fits(json.loads(json.dumps(config(**bound.model_config()))))


# --- training ----------------------------------------------------------------------------------------------------


def test_the_label_loss_is_cross_entropy_a_row() -> None:
    outputs = torch.randn(5, 4, generator=torch.manual_seed(0))
    targets = torch.tensor([0.0, 1.0, 2.0, 3.0, 0.0])
    loss = task().label_loss(outputs, targets)
    assert loss.shape == (5,)
    expected = sk.log_loss(targets.int(), outputs.double().softmax(1).numpy(), labels=range(4))
    assert float(loss.mean()) == pytest.approx(expected, rel=1e-5)


def test_outputs_are_trained_in_their_own_units() -> None:
    assert task().scale() == (0.0, 1.0)


@pytest.mark.parametrize("scale", [0.7, 1.0, 3.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_temperature_minimises_log_loss(scale: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    outputs = random.normal(size=(300, 4)) * 2
    targets = np.array([random.choice(4, p=row) for row in softmax(outputs)], dtype=np.float64)
    found = task().temperature(outputs * scale, targets)
    grid = np.exp(np.linspace(np.log(0.5), np.log(5), 3000))
    losses = [log_loss(softmax(outputs * scale / t), targets) for t in grid]
    assert log_loss(softmax(outputs * scale / found), targets) <= min(losses) + 1e-6
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=0.01)
    assert found == pytest.approx(scale, rel=0.3)  # the outputs were calibrated before they were scaled


# --- predictions -------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), min_size=1, max_size=5))
def test_softmax_equals_scipys_and_stays_finite(rows: list[list[float]]) -> None:
    outputs = np.array(rows, dtype=np.float32)
    found = softmax(outputs)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, scipy_softmax(outputs.astype(np.float64), axis=1), atol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1.0)


def test_softmax_survives_scores_of_ten_thousand() -> None:
    found = softmax(np.array([[1e4, -1e4, 0.0], [1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]], dtype=np.float32))
    np.testing.assert_allclose(found, [[1, 0, 0], [0.5, 0.5, 0], [1 / 3] * 3], atol=1e-12)


def test_records_have_the_label_its_score_and_all_scores() -> None:
    predictions = np.array([[0.1, 0.2, 0.65, 0.05], [0.4, 0.4, 0.1, 0.1]])
    records = task().decode(predictions)
    assert json.loads(json.dumps(records)) == records
    assert [record["label"] for record in records] == ["good", "bad"]
    assert [record["score"] for record in records] == [0.65, 0.4]
    assert records[0]["scores"] == dict(zip(CLASSES, [0.1, 0.2, 0.65, 0.05], strict=True))
    assert task().show(records[0]) == "good 0.65"
    assert task().decode(np.empty((0, 4))) == []
    assert task().predict(np.empty((0, 4), dtype=np.float32)).shape == (0, 4)


def test_rows_do_not_depend_on_their_company() -> None:
    outputs = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    order = np.random.default_rng(1).permutation(50)
    whole, mixed = task().predict(outputs), task().predict(outputs[order])
    np.testing.assert_array_equal(mixed, whole[order])
    records = task().decode(whole)
    assert task().decode(mixed) == [records[i] for i in order]
    np.testing.assert_array_equal(task().predict(outputs[7:8]), whole[7:8])


def test_windows_of_a_text_are_averaged() -> None:
    outputs = np.array([[1, 2], [3, 6], [10, 0], [5, 5]], dtype=np.float32)
    pooled = task("neg", "pos").pool(outputs, np.array([0, 0, 1, 3]), 4)
    np.testing.assert_array_equal(pooled, np.array([[2, 4], [10, 0], [0, 0], [5, 5]], dtype=np.float32))
    assert pooled.dtype == np.float32
    alone = task("neg", "pos").pool(outputs, np.arange(4), 4)
    np.testing.assert_array_equal(alone, outputs)
    order = np.array([3, 1, 0, 2])
    np.testing.assert_array_equal(task("neg", "pos").pool(outputs[order], np.array([0, 0, 1, 3])[order], 4), pooled)


# --- evaluation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_scikit_learns(seed: int, absent: bool) -> None:
    predictions, targets = random_case(seed=seed, absent=absent)
    named = predictions.argmax(1)
    found = {metric.name: metric.compute(predictions, targets) for metric in task().metrics}
    macro: dict[str, Any] = {"average": "macro", "zero_division": 0}
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(targets, named))
    assert found["f1"] == pytest.approx(sk.f1_score(targets, named, **macro))
    assert found["precision"] == pytest.approx(sk.precision_score(targets, named, **macro))
    assert found["recall"] == pytest.approx(sk.recall_score(targets, named, **macro))
    assert found["log_loss"] == pytest.approx(sk.log_loss(targets, predictions, labels=range(4)))


@pytest.mark.parametrize("kind", ["one class only", "never right", "one row"])
def test_figures_equal_scikit_learns_at_the_edges(kind: str) -> None:
    predictions, targets = random_case(40, seed=3)
    if kind == "one class only":
        targets = np.zeros(40)
    elif kind == "never right":
        targets = (predictions.argmax(1) + 1) % 3
    else:
        predictions, targets = predictions[:1], targets[:1]
    found = {metric.name: metric.compute(predictions, targets) for metric in task().metrics}
    for name, compute in (("f1", sk.f1_score), ("precision", sk.precision_score), ("recall", sk.recall_score)):
        expected = compute(targets, predictions.argmax(1), average="macro", zero_division=0)
        assert found[name] == pytest.approx(expected), name


def test_a_certain_mistake_costs_much_but_not_everything() -> None:
    certain = np.array([[1.0, 0.0]])
    assert log_loss(certain, np.array([0.0])) == 0.0
    assert log_loss(certain, np.array([1.0])) == pytest.approx(-np.log(1e-12))


def test_figures_do_not_depend_on_the_order_of_rows() -> None:
    predictions, targets = random_case(seed=9, absent=False)
    order = np.random.default_rng(0).permutation(len(targets))
    for metric in task().metrics:
        assert metric.compute(predictions[order], targets[order]) == pytest.approx(
            metric.compute(predictions, targets), abs=1e-12
        )


def test_the_headline_is_accuracy_and_higher_is_better() -> None:
    assert task().headline.name == "accuracy"
    assert {metric.name for metric in task().metrics if not metric.higher_is_better} == {
        "log_loss",
        "calibration_error",
    }
    for metric in task().metrics:
        best = metric.compute(np.eye(4), np.arange(4.0))
        worst = metric.compute(np.eye(4)[::-1].copy(), np.arange(4.0))
        assert best > worst if metric.higher_is_better else best < worst, metric.name


def test_perfectly_calibrated_predictions_have_almost_no_calibration_error() -> None:
    random = np.random.default_rng(0)
    predictions = random.dirichlet([0.7] * 4, size=20_000)
    targets = (predictions.cumsum(1) > random.random((20_000, 1))).argmax(1).astype(np.float64)
    assert calibration_error(predictions, targets) < 0.015
    sharpened = softmax(3 * np.log(predictions + 1e-12))
    assert calibration_error(sharpened, targets) > 0.1


def test_calibration_error_by_hand() -> None:
    confident = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 4)
    targets = np.array([0, 0, 0, 1, 1, 1, 0, 0], dtype=np.float64)
    assert calibration_error(confident, targets) == pytest.approx(0.5 * 0.15 + 0.5 * 0.1)
    assert calibration_error(np.eye(2), np.arange(2.0)) == 0.0
    assert calibration_error(np.eye(2), np.array([1.0, 0.0])) == 1.0


def test_panels_show_the_same_counts_as_scikit_learn() -> None:
    predictions, targets = random_case(seed=2)
    confusion, per_class, reliability = task().panels(predictions, targets)
    named = predictions.argmax(1)
    assert [panel.kind for panel in (confusion, per_class, reliability)] == ["confusion", "per_class", "reliability"]
    assert confusion.data["counts"] == sk.confusion_matrix(targets, named, labels=range(4)).tolist()
    expected = sk.precision_recall_fscore_support(targets, named, labels=range(4), zero_division=0)
    for key, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert per_class.data[key] == pytest.approx(values.tolist())
    assert sum(reliability.data["count"]) == len(targets)
    average = np.average(reliability.data["accuracy"], weights=reliability.data["count"])
    assert average == pytest.approx((named == targets).mean())
    json.dumps([panel.data for panel in (confusion, per_class, reliability)])


def test_models_differ_only_where_the_label_does() -> None:
    one = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    other = np.array([[0.55, 0.45], [0.4, 0.6], [0.2, 0.8]])
    two = task("neg", "pos")
    np.testing.assert_allclose(two.disagreement(one, other), [0.0, 0.2, 0.0])
    np.testing.assert_array_equal(two.disagreement(one, other), two.disagreement(other, one))
    predictions, _ = random_case()
    assert not task().disagreement(predictions, predictions).any()
    assert task().disagreement(np.eye(4), np.eye(4)[::-1]).tolist() == [1.0] * 4


def test_the_baseline_gives_outputs_for_all_classes_even_those_it_did_not_see() -> None:
    random = np.random.default_rng(0)
    features, targets = random.normal(size=(60, 5)), np.repeat([0.0, 2.0], 30)
    features[30:] += 3
    estimator = task().baseline(0).fit(features, targets)
    outputs = task().baseline_outputs(estimator, features)
    assert outputs.shape == (60, 4)
    predictions = task().predict(outputs)
    np.testing.assert_allclose(predictions[:, [0, 2]], estimator.predict_proba(features), atol=1e-6)
    assert predictions[:, [1, 3]].max() < 1e-9
    assert (predictions.argmax(1) == targets).mean() > 0.95


def test_sampling_of_the_calibrated_case_is_itself_right() -> None:
    """The synthetic targets above follow their probabilities: otherwise that test would prove nothing."""
    random = np.random.default_rng(1)
    row = np.array([0.1, 0.2, 0.3, 0.4])
    drawn = (np.tile(row, (20_000, 1)).cumsum(1) > random.random((20_000, 1))).argmax(1)
    assert chisquare(np.bincount(drawn), 20_000 * row).pvalue > 1e-4


def test_another_answer_costs_what_the_probabilities_say_and_the_same_costs_nothing() -> None:
    task = TextClassification(("a", "b", "c"))
    said = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25]])
    assert task.expected_cost(said, said).tolist() == [0, 0]
    other = np.array([[0.1, 0.9, 0.0], [0.9, 0.1, 0.0]])
    assert task.expected_cost(said, other) == pytest.approx([0.5, 0.0])
    outputs = torch.from_numpy(np.log(said))
    assert task.confidence(outputs).numpy() == pytest.approx([0.7, 0.4])


def test_a_validation_set_without_a_mistake_leaves_soft_targets_soft() -> None:
    outputs = np.eye(4)[[0, 1, 2, 3] * 12] * 2.0
    targets = np.array([0, 1, 2, 3] * 12, dtype=np.float64)
    assert task().temperature(outputs, targets) >= 0.5
