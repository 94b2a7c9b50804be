"""Names of groups become words, in an order that a reader expects."""

import pytest

from paramdiff.report.families import in_reading_order, label_of


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("generated", "Generated"),
        ("average@16", "Average of 16 originals"),
        ("average@all", "Average of all originals"),
        ("gaussian@0.25", "Gaussian fit, scale 0.25"),
        ("my_own@3", "my own 3"),
        ("odd{name}@{x}", "odd{name} {x}"),
    ],
)
def test_names_in_words(name: str, label: str):
    assert label_of(name) == label


def test_strengths_are_ordered_as_numbers():
    names = ["zeta", "average@all", "average@16", "average@4", "gaussian@1.0", "original"]
    expected = ["original", "average@4", "average@16", "average@all", "gaussian@1.0", "zeta"]
    assert in_reading_order(names) == expected
