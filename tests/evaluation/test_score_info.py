"""How scores read: fractions in percent, others to a few figures, differences with a sign."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paramdiff.evaluation.score_info import ScoreInfo, plain

PRECISION = ScoreInfo(name="average precision")
ERROR = ScoreInfo(name="minus error", is_fraction=False)


@pytest.mark.parametrize(
    ("score", "value", "number", "text", "difference", "deviation"),
    [
        (ScoreInfo(), 0.92746, "92.75", "92.75%", "+92.75", "92.75"),
        (PRECISION, 0.0, "0.00", "0.00%", "+0.00", "0.00"),
        (PRECISION, -0.001234, "-0.12", "-0.12%", "-0.12", "-0.12"),
        (ERROR, -2937.249, "-2937.2", "-2937.2", "-2937", "-2937"),
        (ERROR, 0.000123456, "0.00012346", "0.00012346", "+0.000123", "0.000123"),
        (ERROR, 1234567.0, "1234567", "1234567", "+1234567", "1234567"),
        (ERROR, 3e-7, "3e-07", "3e-07", "+3e-07", "3e-07"),
        (ERROR, 0.0, "0", "0", "+0", "0"),
    ],
)
def test_by_hand(score, value, number, text, difference, deviation):
    assert (score.number(value), score.text(value)) == (number, text)
    assert (score.difference(value), score.deviation(value)) == (difference, deviation)


def test_percentages_take_fewer_digits_and_differences_say_what_of():
    assert ScoreInfo().text(0.92746, 1) == "92.7%"
    assert PRECISION.of_difference == "points of average precision"
    assert ERROR.of_difference == "in minus error"


def test_what_is_negligible():
    """Five hundredths of a point, or that share of the originals' score."""
    assert PRECISION.negligible(0.3) == ScoreInfo().negligible(0.9) == 0.0005
    assert ERROR.negligible(-2000.0) == ERROR.negligible(2000.0) == 1.0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(-1e12, 1e12), st.integers(2, 6))
def test_a_plain_number_is_itself_to_its_figures(value, figures):
    assert float(plain(value, figures)) == pytest.approx(value, rel=0.5 * 10 ** (1 - figures))
    assert float(plain(value, figures, sign="+")) == float(plain(value, figures))
