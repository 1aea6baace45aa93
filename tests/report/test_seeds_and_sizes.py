"""Other seeds and other sizes in the answer: on the page, in the card, on the screen."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from tutelage.artifacts.measurements import Measurements
from tutelage.report import answer, number, page, seeds, sizes
from tutelage.report.card import card
from tutelage.report.table import summary


def plain(text: str) -> str:
    return text.replace(number.SPACE, " ").replace(number.MINUS, "-")


def interval(value: float, reach: float) -> dict[str, float]:
    return {"value": value, "low": value - reach, "high": value + reach}


def of_seeds(gain: float, reach: float) -> dict[str, Any]:
    runs = [
        {
            "seed": seed,
            "describes": "<b>int8</b>",
            "student": interval(0.8, 0.02),
            "control": interval(0.8 - own, 0.02),
            "retention": interval(0.96 + own, 0.02),
            "against_control": interval(own, 0.02),
        }
        for seed, own in enumerate((0.005, 0.01, 0.015))
    ]
    return {"runs": runs, "retention": interval(0.97, 0.012), "against_control": interval(gain, reach)}


SIZES = [
    {
        "where": "smaller",
        "describes": "BERT, 1 layer x 384",
        "scores": {"accuracy": interval(0.79, 0.01)},
        "against_student": interval(-0.012, 0.004),
        "retention": interval(0.95, 0.01),
        "speedup": 1.7,
        "bytes": 9_000_000,
        "rows_per_second": 3600.0,
        "latency_ms": {"p50": 0.6},
    },
    {"where": "larger", "against_student": interval(0.006, 0.005), "speedup": 0.5, "bytes": 13_000_000},
]


@pytest.mark.parametrize(("reach", "kind"), [(0.005, "better"), (0.02, "same")])
def test_the_verdict_is_that_of_all_seeds(classification: Any, reach: float, kind: str) -> None:
    one = {"against_control": interval(0.01, 0.001), "seeds": of_seeds(0.01, reach)}
    measurements = Measurements.model_validate({**classification(), **one})
    verdict = answer.verdict(measurements)
    assert verdict.kind == kind
    assert "on average over 3 seeds" in verdict.sentence
    assert plain(answer.tiles(measurements)[-1].note).endswith("on average over 3 seeds")
    told = plain(answer.beside(measurements)[0])
    assert told == "Trained from 3 seeds, such students keep 97.0 % [95.8, 98.2] on average, between 96.5 and 97.5 %."


def test_without_a_control_the_seeds_tell_what_is_kept(classification: Any) -> None:
    given = of_seeds(0.0, 0.0)
    given["against_control"] = None
    measurements = Measurements.model_validate({**classification(), "against_control": None, "seeds": given})
    assert answer.verdict(measurements).kind == "unknown"
    assert "keep 97.0" in plain(answer.beside(measurements)[0])


def test_what_another_size_would_give(classification: Any) -> None:
    measurements = Measurements.model_validate({**classification(), "sizes": SIZES})
    up, down = (plain(told) for told in answer.beside(measurements))
    assert up == "One size up would give +0.6 points [0.1, 1.1] at 0.5 × the speed and in 13.0 MB."
    assert down == "One size down would give -1.2 points [-1.6, -0.8] at 1.7 × the speed and in 9.0 MB."
    assert [row.name for row in sizes.rows(measurements)] == ["One size smaller", "The student", "One size larger"]
    only = Measurements.model_validate({**classification(), "sizes": SIZES[:1]})
    assert len(sizes.rows(only)) == 2


def test_a_search_has_tried_other_sizes_already(classification: Any) -> None:
    def tried(name: str, rate: float, kept: float, **more: Any) -> dict[str, Any]:
        return {"name": name, "rows_per_second": rate, "retention": interval(kept, 0.01), **more}

    rungs = [
        tried("one", 4000.0, 0.93),
        tried("two", 3000.0, 0.95),
        tried("half", 2000.0, 0.98),
        tried("half after two, cascade 0.01", 2400.0, 0.98),
        tried("half, cascade 0.01", 2500.0, 0.975, taken=True),
        tried("whole", 500.0, 1.0),
        {"name": "other", "verdict": "not tried"},
    ]
    search = {"keep": 0.97, "confidence": 0.8, "reached": True, "tried": rungs}
    measurements = Measurements.model_validate({**classification(), "search": search})
    up, down, where = (plain(told) for told in sizes.sentences(measurements))
    assert up == "One size up (whole) kept 100.0 % [99.0, 101.0] at 0.2 × the speed."
    assert down.startswith("One size down (two) kept 95.0 %")
    assert "not learned from" in where
    assert sizes.rows(measurements) == []
    search["tried"] = [{**rungs[1], "given_up_after": 2}, rungs[4]]
    given_up = Measurements.model_validate({**classification(), "search": search})
    assert plain(sizes.sentences(given_up)[0]).startswith("One size down (two, given up early) kept 95.0 %")
    search["tried"] = [rungs[4]]
    assert sizes.sentences(Measurements.model_validate({**classification(), "search": search})) == []


def test_page_card_and_screen_show_them(classification: Any) -> None:
    measurements = Measurements.model_validate({**classification(), "seeds": of_seeds(0.01, 0.02), "sizes": SIZES})
    html, told = page.html(measurements), card(measurements)
    for section in ('id="seeds"', 'id="sizes"', "Student's, from the variance over seeds"):
        assert section in html
    assert "<b>int8</b>" not in html
    assert "| seed 0, deployed |" in told
    assert "| mean |" in told
    console = Console(width=80, record=True)
    console.print(summary(measurements))
    shown = " ".join(plain(console.export_text()).split())
    assert "No difference shown: +1.0 points [-1.0, 3.0] over 3 seeds." in shown
    assert "One size up would give" in shown


def test_one_seed_and_no_other_size_leave_everything_as_it_was(classification: Any) -> None:
    measurements = Measurements.model_validate(classification())
    assert answer.beside(measurements) == []
    assert seeds.rows(measurements) == sizes.rows(measurements) == []
    html = page.html(measurements)
    assert 'id="seeds"' not in html
    assert 'id="sizes"' not in html
    assert "evaluate: {seeds: 3}" in html
    assert "seeds" not in card(measurements)
