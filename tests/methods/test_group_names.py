"""Names of groups become words, in an order that a reader expects."""

import pytest

from paramdiff.methods.group_names import (
    in_reading_order,
    label_of,
    phrase_of,
    short_phrase_of,
)


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


@pytest.mark.parametrize(
    ("name", "phrase", "short"),
    [
        ("original", "the originals", "the originals"),
        ("average@all", "the average of all checkpoints", "the average of all checkpoints"),
        ("average@16", "averages of 16 checkpoints", "averages of 16 checkpoints"),
        ("swag@0.5", "SWAG samples at scale 0.5", "SWAG samples"),
        ("kde", "a kernel density", "a kernel density"),
        (
            "kde@0.3",
            "a kernel density with a bandwidth of 0.3 standard deviations",
            "a kernel density",
        ),
        (
            "noise@0.05",
            "checkpoints with added noise of 0.05 times each tensor's spread",
            "noised checkpoints",
        ),
        (
            "fine_tuned_average",
            "the fine-tuned average of all checkpoints",
            "the fine-tuned average",
        ),
        ("my_own@3", "my_own@3", "my_own@3"),
    ],
)
@pytest.mark.parametrize("finish", ["", "+bn"])
def test_phrases(name: str, phrase: str, short: str, finish: str):
    end = " with re-estimated BatchNorm statistics" if finish else ""
    assert phrase_of(name + finish) == phrase + end
    assert short_phrase_of(name + finish) == short + end
