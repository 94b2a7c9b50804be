"""Unknown names: the nearest valid one is suggested if it is near, else some are listed."""

import pytest

from paramdiff.errors import nearest, suggestion


@pytest.mark.parametrize(
    ("name", "known", "told"),
    [
        ("digts", ["wine", "digits"], "the nearest is 'digits'"),
        ("sonnet", ["wine", "digits"], "expected one of 'wine', 'digits'"),
        ("", ["wine"], "expected 'wine'"),
        ("wine", [], "there is none to choose from"),
        (
            "?",
            [f"network{number}" for number in range(1200)],
            "expected one of 'network0', 'network1', 'network2', 'network3', 'network4', "
            "'network5', 'network6', 'network7', ... (1,200 in all)",
        ),
    ],
)
def test_a_suggestion(name, known, told):
    assert suggestion(name, known) == told
    assert nearest(name, dict.fromkeys(known)) == ("digits" if name == "digts" else None)
