"""Which tensors are generated: globs, regular expressions and refusals."""

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paramdiff.errors import UserError
from paramdiff.parameters.selection import select

NAMES = [
    "stem.weight",
    "layer4.0.bn1.weight",
    "layer4.0.bn1.bias",
    "layer4.1.bn2.weight",
    "layer4.1.bn2.bias",
    "layer4.1.bn2.running_var",
    "layer41.bn2.bias",
    "head.weight",
]


def refusal(names, patterns):
    with pytest.raises(UserError) as caught:
        select(names, patterns)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["head.weight"], ["head.weight"]),
        (["layer4.1.*"], NAMES[3:6]),
        (["layer4.?.bn[12].bias"], ["layer4.0.bn1.bias", "layer4.1.bn2.bias"]),
        (["*"], NAMES),
        ([r"re:\.bn2\.(weight|bias)$"], [NAMES[3], NAMES[4], NAMES[6]]),
        ([r"re:^layer4\."], NAMES[1:6]),
        (["re:running"], ["layer4.1.bn2.running_var"]),
        (["head.*", "re:^stem"], ["stem.weight", "head.weight"]),
    ],
)
def test_globs_and_regular_expressions(patterns, expected):
    assert select(NAMES, patterns) == expected


def test_a_glob_is_against_the_whole_name_and_minds_the_case():
    assert select(["bn.weight", "x.bn.weight"], ["bn.*"]) == ["bn.weight"]
    assert "BN.*" in refusal(["bn.weight"], ["BN.*"])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.text("ab.1", min_size=1, max_size=4), unique=True, min_size=1, max_size=12),
    st.lists(st.text("ab.1*?", min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_order_is_the_state_dicts_and_every_pattern_counts(names, patterns):
    matches = {p: [name for name in names if fnmatchcase(name, p)] for p in patterns}
    if all(matches.values()):
        expected = [name for name in names if any(name in found for found in matches.values())]
        assert select(iter(names), patterns) == expected
        assert select(names, patterns[::-1] + patterns) == expected
    else:
        refusal(names, patterns)


def test_a_pattern_without_a_match_names_near_ones():
    message = refusal(NAMES, ["head.*", "layer4.1.bn2.wieght"])
    assert "'layer4.1.bn2.wieght'" in message
    assert "8 tensors" in message
    assert message.endswith("the nearest is 'layer4.1.bn2.weight'")
    assert refusal(NAMES, ["nowhere"]).endswith(", ".join(map(repr, NAMES)))


def test_a_broken_regular_expression_is_told():
    message = refusal(NAMES, ["re:bn2.("])
    assert "'re:bn2.('" in message
    with pytest.raises(re.error) as caught:
        re.compile("bn2.(")
    assert str(caught.value) in message
