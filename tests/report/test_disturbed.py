"""A speed that other programs disturbed is said to be doubtful, wherever it is shown."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from tutelage.artifacts.measurements import BUSY, Measurements
from tutelage.report import answer, page, search
from tutelage.report.card import card
from tutelage.report.table import summary


def measured(value: dict[str, Any], share: float | None) -> Measurements:
    return Measurements.model_validate({**value, "other_programs": share})


def screen(found: Measurements) -> str:
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(summary(found))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    return " ".join(out.getvalue().split())


def test_it_is_said_on_the_page_on_the_card_and_on_the_screen(classification: Any) -> None:
    found = measured(classification(), 0.434)
    told = answer.disturbed(found)
    assert "43\u00a0%" in told
    assert "quiet machine" in told
    html = page.html(found)
    # Before the first figure of speed that stands out.
    assert html.index("Timed on a busy machine") < html.index('class="tiles"')
    assert told in html
    assert "Timed on a busy machine" in card(found)
    assert " ".join(told.split()) in screen(found)


@pytest.mark.parametrize("share", [None, 0.0, BUSY])
def test_nothing_is_said_of_a_quiet_machine_or_of_one_that_is_not_known(classification: Any, share: Any) -> None:
    found = measured(classification(), share)
    assert answer.disturbed(found) == ""
    for told in (page.html(found), card(found), screen(found)):
        assert "busy machine" not in told
        assert "quiet machine" not in told
    # What was seen stands where the page says how it was measured, if it is known.
    assert ("of the machine’s cores meanwhile" in page.html(found)) == (share is not None)


def test_figures_of_before_there_was_such_a_figure_are_read(classification: Any) -> None:
    found = Measurements.model_validate(classification())
    assert found.other_programs is None
    assert answer.disturbed(found) == ""


def test_a_search_says_what_disturbed_it(classification: Any) -> None:
    def told(*shares: float | None) -> str:
        tried = [{"name": str(number), "other_programs": share} for number, share in enumerate(shares)]
        found = {"confidence": 0.8, "reached": True, "keep": 0.97, "tried": tried}
        return search.sentence(Measurements.model_validate({**classification(), "search": found}))

    assert "up to 38\u00a0%" in told(0.02, 0.38, None)
    assert "cores" not in told(0.02, None)
