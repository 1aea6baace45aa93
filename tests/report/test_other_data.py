"""Other domains and languages, on the page, on the card and in the terminal."""

import io

import pytest
from rich.console import Console

from tutelage.artifacts.measurements import Measurements
from tutelage.report import card, elsewhere, page, table


def told(measurements):
    out = io.StringIO()
    found = table.other_data(measurements)
    Console(file=out, width=80, color_system=None).print(found)
    return out.getvalue()


@pytest.fixture
def with_others(classification):
    given = classification()
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    scores = {role: {"accuracy": score} for role in ("teacher", "student", "control")}
    given["others"] = [
        {"name": "<French>", "rows": 1234, "scores": scores, "retention": {"value": 0.875, "low": 0.8, "high": 0.9}},
        {"name": "empty"},
    ]
    return Measurements.model_validate(given)


def test_the_test_comes_first_for_comparison(with_others):
    rows = elsewhere.elsewhere(with_others)
    assert [row.name for row in rows] == ["test", "<French>", "empty"]
    assert elsewhere.heads(with_others) == ["Teacher", "Student", "Control", "Baseline", "Kept"]
    figure = with_others.models["teacher"].scores["accuracy"].value
    assert rows[0].cells[0].figure.startswith(f"{100 * figure:.1f}")
    assert rows[0].cells[-1].figure.startswith(f"{100 * with_others.retention.value:.1f}")
    assert [cell.figure.partition("\u202f")[0].partition("\u00a0")[0].partition(" ")[0] for cell in rows[1].cells] == [
        "50.0",
        "50.0",
        "50.0",
        "–",
        "87.5",
    ]


def test_all_three_places_show_it(with_others):
    html, markdown, screen = page.html(with_others), card.card(with_others), told(with_others)
    assert 'id="elsewhere"' in html
    assert "&lt;French&gt;" in html
    assert "<French>" not in html
    for text in (html, markdown, screen):
        assert "Other data" in text
        assert "1,234" in text
        assert "87.5" in text
    assert "than those above" in markdown
    assert max(map(len, screen.splitlines())) <= 80


def test_without_other_data_there_is_no_trace(measurements):
    assert table.other_data(measurements) is None
    assert "elsewhere" not in page.html(measurements)
    assert "Other data" not in card.card(measurements)
    assert "than those above" not in card.card(measurements)


def test_a_long_name_is_not_folded_letter_by_letter(with_others):
    others = [with_others.others[0].model_copy(update={"name": "amazon_reviews_of_kitchens"})]
    screen = told(with_others.model_copy(update={"others": others}))
    assert "amazon_reviews_of_" in screen
    assert len(screen.splitlines()) <= len(told(with_others).splitlines())
