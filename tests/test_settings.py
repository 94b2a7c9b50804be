"""Wrong data are described in one line: where, which field, what is wrong."""

import pytest
from pydantic import Field

from paramdiff.errors import UserError
from paramdiff.settings import Settings, load


class Part(Settings):
    size: int = Field(gt=0)
    kind: str = "a"


class Whole(Settings):
    parts: tuple[Part, ...]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "f.json: parts: this value is missing"),
        ({"parts": [{"size": 1}], "more": 2}, "f.json: more: unknown key"),
        (
            {"parts": [{"size": 0}]},
            "f.json: parts.0.size: input should be greater than 0, found 0",
        ),
        (
            {"parts": [{"size": 1, "kind": ["long"] * 99}]},
            "f.json: parts.0.kind: input should be a valid string, found "
            f"{str(['long'] * 99)[:60]}...",
        ),
        ([], "f.json: input should be a valid dictionary or instance of Whole, found []"),
        (b"{", "f.json: invalid JSON: EOF while parsing an object at line 1 column 1"),
    ],
)
def test_the_first_mistake_is_one_line(data, told):
    with pytest.raises(UserError) as caught:
        load(Whole, data, "f.json")
    assert str(caught.value) == told


def test_sound_data_become_an_object():
    whole = Whole(parts=(Part(size=2),))
    assert load(Whole, {"parts": [{"size": 2}]}, "f.json") == whole
    assert load(Whole, b'{"parts": [{"size": 2}]}', "f.json") == whole


def test_an_explanation_of_ones_own():
    with pytest.raises(UserError, match=r"^here: missing$"):
        load(Part, {}, "here", lambda error: error["type"])
