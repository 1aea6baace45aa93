"""One row: what is mended, what is kept, and why a row is bad."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage import text as shared
from tutelage.artifacts.corpus import content_key
from tutelage.data.clean import clean_label, clean_text
from tutelage.data.sources.table import Problem
from tutelage.text import normalise


def clean(value, **settings):
    return clean_text(value, **{"normalise": True, "max_characters": 1000} | settings)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("  two \u00a0 spaces\n\tand lines ", "two spaces and lines"),
        ("schÃ¶n", "schön"),
        ("cafe\u0301", "café"),
        ("x² ＡＢＣ ﬁ", "x² ＡＢＣ ﬁ"),
        ("AT&amp;T \u201cquoted\u201d", "AT&T \u201cquoted\u201d"),
        ("bell\x07 and\x00 null", "bell and null"),
        ("SHOUTED Straße", "SHOUTED Straße"),
        ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)
def test_texts_are_mended_and_keep_their_meaning(given_text, expected):
    assert clean(given_text) == expected


def test_a_bundle_mends_all_but_what_was_decoded_wrongly():
    for text in ("AT&amp;T", " two\u00a0spaces", "bell\x07", "&#39;Tom&#39;", "cafe\u0301", "&lt;3 &amp;amp;"):
        assert clean(text) == normalise(text)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "empty text"),
        ("", "empty text"),
        (" \n\u200b ", "empty text"),
        (12, "not text"),
        (["a"], "not text"),
        ("x" * 1001, "too long"),
        ("caf\udce9", "not valid Unicode"),
        ("\ud800 half", "not valid Unicode"),
        ("l\ufffdst \ufffd\ufffd", "not valid Unicode"),
    ],
)
def test_unusable_texts_say_why(value, kind):
    problem = clean(value)
    assert isinstance(problem, Problem)
    assert problem.kind == kind


def test_the_undecoded_byte_is_named():
    assert str(clean("caf\udce9")) == "not valid Unicode: byte 0xe9 at character 4"


@pytest.mark.parametrize("value", ["a", 0, 1.5, True, "nan"])
def test_labels_of_any_type_are_usable(value):
    assert clean_label(value) is None


@pytest.mark.parametrize("value", [None, "", "  ", math.nan, math.inf, [1], {"a": 1}, b"x", "\ud800"])
def test_unusable_labels_say_why(value):
    assert clean_label(value) is not None


@given(st.text(max_size=100))
def test_a_clean_text_is_what_a_bundle_would_read(text):
    once = clean(text)
    if isinstance(once, str):
        assert shared.normalise(once) == once
        assert len(content_key(once)) == 16


def test_without_normalisation_the_text_is_untouched():
    assert clean(" a &amp; b ", normalise=False) == " a &amp; b "
