import pytest

from tutelage.artifacts.measurements import Interval, Measurements
from tutelage.report import answer, number


def made(value, **changes):
    return Measurements.model_validate({**value, **changes})


def plain(text):
    return text.replace(number.SPACE, " ").replace(number.MINUS, "-")


def test_the_sentence_says_what_was_kept_and_what_was_won(classification):
    told = plain(answer.sentence(made(classification(), retention={"value": 0.972, "low": 0.961, "high": 0.983})))
    assert told == (
        "The student keeps 97.2 % [96.1, 98.3] of the teacher’s accuracy, is 12.3 × faster and 11.4 × smaller."
    )


def test_what_was_lost_is_said_as_plainly(classification):
    told = plain(answer.sentence(made(classification(), speedup={"value": 0.5}, smaller=0.8)))
    assert "2.0 × slower" in told
    assert "1.2 × larger" in told


def test_without_a_teacher_the_score_itself_is_the_answer(classification):
    told = plain(answer.sentence(made(classification(), retention=None, speedup=None, smaller=11.0)))
    assert told.startswith("The student’s accuracy is 95.0 % [")
    assert told.endswith("and is 11.0 × smaller.")


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(0.001, 0.02, "better"), (-0.01, 0.02, "same"), (-0.02, -0.001, "worse"), (0.0, 0.02, "same")],
)
def test_the_verdict_follows_the_interval_not_the_figure(classification, low, high, kind):
    measured = made(classification(), against_control={"value": (low + high) / 2, "low": low, "high": high})
    assert answer.verdict(measured).kind == kind


def test_where_less_is_better_a_fall_is_a_gain(regression):
    measured = made(regression(), headline="mae", against_control={"value": -0.02, "low": -0.03, "high": -0.01})
    assert answer.verdict(measured).kind == "better"


def test_no_control_and_no_interval_prove_nothing(classification):
    assert answer.verdict(made(classification(), against_control=None)).kind == "unknown"
    assert answer.verdict(made(classification(), against_control={"value": 0.1})).kind == "unknown"


def test_a_baseline_as_good_as_the_student_is_pointed_out(classification):
    value = classification()
    assert answer.caution(made(value)) == ""
    value["models"]["baseline"]["scores"]["accuracy"] = value["models"]["student"]["scores"]["accuracy"]
    assert "TF-IDF" in answer.caution(made(value))
    del value["models"]["baseline"]
    assert answer.caution(made(value)) == ""


def test_a_teacher_no_better_than_one_answer_for_all_is_pointed_out(classification, regression):
    value = classification()
    assert answer.doubt(made(value)) == ""  # of a run before there was such a figure
    teacher = value["models"]["teacher"]["scores"]["accuracy"]
    assert answer.doubt(made(value, guessing=teacher["low"] - 0.01)) == ""
    assert "says nothing" in answer.doubt(made(value, guessing=teacher["low"] + 0.01))
    value = regression()
    name = value["headline"]
    value["models"]["teacher"]["scores"][name] = {"value": 0.1, "low": -0.1, "high": 0.3}
    assert "says nothing" in answer.doubt(made(value, guessing=0.0))


def test_tiles_hold_only_what_was_measured(classification):
    assert [tile.caption for tile in answer.tiles(made(classification()))] == [
        "kept",
        "faster",
        "smaller",
        "by distilling",
    ]
    bare = made(classification(), retention=None, speedup=None, smaller=None, against_control=None)
    assert [tile.caption for tile in answer.tiles(bare)] == ["accuracy"]
    assert answer.tiles(made(classification()))[1].note == "student in ONNX Runtime over teacher in PyTorch"


def test_an_empty_run_is_still_a_sentence():
    bare = Measurements(task="t", headline="f1", models={})
    assert plain(answer.sentence(bare)) == "The student’s F1 is –."
    assert answer.tiles(bare)[0].interval == ""
    assert Interval().value is None
