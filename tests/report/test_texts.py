"""The learning curve is shown point by point, and not at all where it was not measured."""

from __future__ import annotations

from tutelage.artifacts.measurements import LearningCurve, Measurements
from tutelage.report import page, texts

SENTENCE = "Twice as many texts changed the loss by -0.0200 [-0.0300, -0.0100]: more such text would help."


def curve(*losses: float | None) -> LearningCurve:
    points = [
        {"of": "training texts", "texts": 100 * 2**n, "loss": {"value": value, "low": value, "high": value}}
        for n, value in enumerate(losses)
    ]
    return LearningCurve.model_validate({"points": points, "sentence": SENTENCE})


def test_every_point_has_its_row_and_its_place_in_the_drawing() -> None:
    given = curve(0.5, 0.45, 0.43)
    assert [(row.texts, row.loss) for row in texts.rows(given)] == [
        ("100", "0.5000"),
        ("200", "0.4500"),
        ("400", "0.4300"),
    ]
    drawn = texts.chart(given)
    assert drawn is not None
    assert "training texts: 0.5000 with 100, 0.4500 with 200, 0.4300 with 400" in drawn


def test_what_was_not_measured_is_not_drawn() -> None:
    assert texts.rows(None) == []
    assert texts.chart(None) is None
    assert texts.chart(curve(0.5)) is None
    assert texts.rows(curve(None))[0].interval == ""


def test_the_page_has_a_section_where_there_is_a_curve(classification) -> None:
    value = classification()
    assert "Would more text help?" not in page.html(Measurements.model_validate(value))
    value["learning_curve"] = curve(0.5, 0.45).model_dump()
    told = page.html(Measurements.model_validate(value))
    assert "Would more text help?" in told
    assert SENTENCE in told
