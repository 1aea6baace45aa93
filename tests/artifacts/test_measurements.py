import json

import pytest

from tutelage.artifacts.measurements import FILE, Measurements
from tutelage.errors import OutputError

SMALL = {"task": "text-classification", "headline": "accuracy", "models": {"student": {}}}


def test_unknown_keys_and_parts_survive_a_round_trip(tmp_path):
    value = {
        **SMALL,
        "schema": 7,
        "news": {"from": "a later version"},
        "models": {"cascade": {"scores": {"accuracy": {"value": 0.5, "median": 0.49}}}, "student": {"energy": 3}},
    }
    Measurements.model_validate(value).save(tmp_path / FILE)
    again = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    assert again["schema"] == 7
    assert again["news"] == {"from": "a later version"}
    assert again["models"]["student"]["energy"] == 3
    assert again["models"]["cascade"]["scores"]["accuracy"]["median"] == 0.49
    assert list(Measurements.load(tmp_path).in_order) == ["student", "cascade"]


def test_models_come_in_the_order_in_which_they_are_shown():
    roles = ("baseline", "zeta", "control", "student", "alpha", "teacher")
    measured = Measurements.model_validate({**SMALL, "models": {role: {} for role in roles}})
    assert list(measured.in_order) == ["teacher", "student", "control", "baseline", "alpha", "zeta"]


def test_what_is_not_finite_was_not_measured(tmp_path):
    value = {
        **SMALL,
        "models": {"student": {"scores": {"accuracy": {"value": float("nan"), "low": float("-inf"), "high": 1.0}}}},
        "history": {"student": [{"epoch": 1, "loss": float("inf")}]},
    }
    Measurements.model_validate(value).save(tmp_path / FILE)
    again = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    assert again["models"]["student"]["scores"]["accuracy"] == {"value": None, "low": None, "high": 1.0}
    assert again["history"]["student"] == [{"epoch": 1, "loss": None}]


def test_a_metric_that_is_not_described_still_has_a_title():
    measured = Measurements.model_validate({**SMALL, "metrics": [{"name": "accuracy", "title": "Accuracy"}]})
    assert measured.metric("accuracy").percent
    assert measured.metric("exact_match").title == "Exact match"
    assert not measured.metric("exact_match").percent


@pytest.mark.parametrize("content", ["", "{", "[]", '{"task": "t"}', '{"task": "t", "headline": "a", "models": 3}'])
def test_a_file_of_something_else_is_refused_with_a_cure(tmp_path, content):
    (tmp_path / FILE).write_text(content, encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be read") as raised:
        Measurements.load(tmp_path)
    assert "--resume" in raised.value.cure


def test_a_missing_file_is_told_from_a_broken_one(tmp_path):
    with pytest.raises(OutputError, match="there is no") as raised:
        Measurements.load(tmp_path)
    assert FILE in str(raised.value)
