import pytest

from tutelage.artifacts.measurements import Interval, MetricInfo
from tutelage.report import number

SHARE = MetricInfo(name="accuracy", title="Accuracy")
PLAIN = MetricInfo(name="mae", title="Error", percent=False)


def spaced(text):
    return text.replace(number.SPACE, " ").replace(number.MINUS, "-")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.01234, "0.0123"),
        (12.345, "12.3"),
        (1234.5, "1,234"),
        (2.1e-6, "2.1e-06"),
        (-3.14159, "-3.14"),
    ],
)
def test_three_significant_digits(value, text):
    assert spaced(number.significant(value)) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "–"), (91_581_543, "91.6 MB"), (132_400_000, "132 MB"), (715_334, "0.72 MB"), (51_000, "0.051 MB")],
)
def test_sizes_are_in_megabytes(size, text):
    assert spaced(number.megabytes(size)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4234, "0.42 s"), (12.34, "12.3 s"), (59.99, "1 min 00 s"), (245, "4 min 05 s"), (7800, "2 h 10 min")],
)
def test_times_have_two_units_at_most(value, text):
    assert spaced(number.seconds(value)) == text


def test_a_rounded_zero_has_no_sign():
    assert spaced(number.difference(-0.0001, SHARE)) == "0.0 points"
    small = MetricInfo(name="mae", title="Mean absolute error", higher_is_better=False, percent=False)
    assert [number.score(value, small) for value in (0.00042, 0.0, 0.042, 4.2, 42000.0)] == [
        "0.000420",
        "0.000",
        "0.042",
        "4.200",
        "42,000",
    ]
    assert spaced(number.difference(0.0001, SHARE)) == "0.0 points"
    assert spaced(number.difference(0.0142, SHARE)) == "+1.4 points"
    assert spaced(number.difference(-0.0142, SHARE)) == "-1.4 points"
    assert spaced(number.difference(0.0142, PLAIN)) == "+0.014"


def test_an_interval_has_the_unit_of_its_figure_left_out():
    bounds = Interval(value=0.9, low=0.8876, high=0.912)
    assert spaced(number.interval(bounds, SHARE)) == "[88.8, 91.2]"
    assert spaced(number.interval(bounds, PLAIN)) == "[0.888, 0.912]"
    assert number.interval(Interval(value=0.9), SHARE) == ""
    assert number.interval(None, SHARE) == ""


@pytest.mark.parametrize(
    ("value", "text"), [(82_402, "82,402"), (613_000, "613 k"), (22_713_986, "22.7 M"), (7e9, "7.00 G")]
)
def test_counts_are_shortened_only_when_large(value, text):
    assert spaced(number.count(value)) == text
