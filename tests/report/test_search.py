"""How a student was found is told: every rung, the goal, and whether it was reached."""

from __future__ import annotations

from typing import Any

import pytest

from tutelage.artifacts.measurements import Measurements
from tutelage.report import page, search


@pytest.fixture
def searched(classification: Any) -> Any:
    """A factory: measurements with a search; keywords replace what was asked for or found."""

    def build(**changes: Any) -> Measurements:
        found = classification()
        rung = {"describes": "BERT, 1 layer x 384", "rows_per_second": 5815.0, "bytes": 11_900_000, "within": True}
        found["search"] = {
            "keep": 0.97,
            "confidence": 0.8,
            "reached": True,
            "seconds": 80.0,
            "allowed_seconds": 90.0,
            "tried": [
                {"name": "one", **rung, "retention": {"value": 0.969, "low": 0.957, "high": 0.984}, "verdict": "no"},
                {
                    "name": "half",
                    **rung,
                    "rows_per_second": 1936.0,
                    "latency_ms": {"p50": 0.298, "p95": 6.41},
                    "retention": {"value": 0.991, "low": 0.98, "high": 1.003},
                    "keeps": True,
                    "taken": True,
                    "verdict": "good enough",
                },
                {"name": "whole", "verdict": "not tried: no time <b>"},
            ],
            **changes,
        }
        return Measurements.model_validate(found)

    return build


def test_every_rung_is_told_the_untried_too(searched: Any) -> None:
    rows = search.rows(searched())
    assert [row.name for row in rows] == ["one", "half", "whole"]
    assert [row.taken for row in rows] == [False, True, False]
    assert rows[1].kept.startswith("99.1")
    assert "98.0" in rows[1].interval
    assert rows[1].slowest.startswith("6.41")
    assert rows[2].kept == rows[2].rate == rows[2].size
    html = page.html(searched())
    assert "not tried: no time &lt;b&gt;" in html
    assert "covers 60" in html


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "the first on a ladder"),
        ({"reached": False}, "No student was found for the goal"),
        ({"keep": None, "max_mb": 5.0}, "the best that takes at most 5"),
        ({"max_latency_ms": 2.0}, "answers one text in 2"),
    ],
)
def test_the_goal_is_told_as_it_was_asked(searched: Any, changes: dict[str, Any], told: str) -> None:
    assert told in search.sentence(searched(**changes))


def test_a_goal_that_was_missed_is_told_at_the_top(searched: Any) -> None:
    assert search.missed(searched()) == ""
    assert "The goal was not reached" not in page.html(searched())
    html = page.html(searched(reached=False))
    assert "is one that keeps" in search.missed(searched(reached=False))
    assert html.index("The goal was not reached") < html.index("<main>")
    assert 'id="search"' in html


def test_what_was_taken_instead_is_told_for_what_it_is(searched: Any) -> None:
    assert "fastest of those that probably do" in search.missed(searched(reached=False))
    assert "fastest of those that probably do" in search.sentence(searched(reached=False))
    assert "best of them" in search.missed(searched(reached=False, keep=0.995))
    # What has read all texts is taken for that, where others look as good or better.
    tried = searched().model_dump()["search"]["tried"]
    for one, share in zip(tried, (0.985, 0.975), strict=False):
        one["retention"]["value"] = share
    tried[1]["name"] = "half, all texts"
    assert "probably does, and has read all texts" in search.missed(searched(reached=False, tried=tried))
    beyond = search.missed(searched(reached=False, keep=0.995, tried=tried))
    assert "has read all texts, and is not surely worse than what was found before" in beyond
    tried[1]["name"] = "half"
    assert "This one probably does." in search.missed(searched(reached=False, tried=tried))
    beyond = search.missed(searched(reached=False, keep=0.995, tried=tried))
    assert "is the largest of those that are not surely worse than the best" in beyond


def test_a_frontier_is_drawn_of_what_was_judged(searched: Any) -> None:
    drawn = search.frontier(searched())
    assert drawn is not None
    assert "one keeps 96.9" in drawn
    assert "whole keeps" not in drawn
    alone = searched(tried=[{"name": "whole", "verdict": "not tried"}])
    assert search.frontier(alone) is None


def test_without_a_search_there_is_no_section(classification: Any) -> None:
    measurements = Measurements.model_validate(classification())
    assert search.rows(measurements) == []
    assert "How the student was found" not in page.html(measurements)
