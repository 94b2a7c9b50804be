"""Plain values as JSON and back."""

import json
import math
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paramdiff.checkpoints.safe_unpickle import MAX_VALUES, from_json, to_json

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text() | st.integers() | st.booleans() | st.sampled_from(["tuple()", "dict()"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


def through(value):
    written, left_out = to_json(value, "value")
    return from_json(json.loads(json.dumps(written, allow_nan=False))), left_out


@settings(max_examples=200, deadline=None, derandomize=True)
@given(VALUES)
def test_plain_values_come_back(value):
    found, left_out = through(value)
    assert found == value and not left_out
    assert repr(found) == repr(value)  # True is not 1


def test_nan_comes_back():
    assert math.isnan(through({"lr": math.nan})[0]["lr"])


class Text(str):
    """Looks plain."""


@pytest.mark.parametrize("odd", [object(), Text("a"), {1, 2}, b"bytes", print])
def test_what_is_not_plain_is_left_out_and_named(odd):
    found, left_out = through({"kept": 1, "odd": odd, "deep": {"odd": odd, "kept": (1, 2)}})
    assert found == {"kept": 1, "deep": {"kept": (1, 2)}}
    assert left_out == ["value.odd", "value.deep.odd"]
    assert through(odd) == (None, ["value"])


def test_a_list_is_kept_whole_or_not_at_all():
    found, left_out = through({"layers": [1, object(), 3], "sizes": [1, 2]})
    assert found == {"sizes": [1, 2]}
    assert left_out == ["value.layers"]


def test_mappings_of_other_classes_are_mappings():
    assert through(OrderedDict(a=1))[0] == {"a": 1}


def test_there_is_an_end():
    deep = value = []
    for _ in range(100):
        value.append([])
        value = value[0]
    assert through({"deep": deep}) == ({}, ["value.deep"])
    assert through({"long": [0] * (2 * MAX_VALUES)})[1]
