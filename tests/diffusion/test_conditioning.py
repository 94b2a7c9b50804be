"""What is known of checkpoints, as a denoiser reads it."""

import pytest
import torch

from paramdiff.diffusion.conditioning import Conditions
from paramdiff.errors import UserError

VALUES = {"score": [0.7, 0.8, 0.9, 0.8], "run": ["a", "b", "a", "c"], "step": [1, 2, 3, 4]}


@pytest.fixture
def conditions():
    return Conditions.fit(VALUES)


def encoded(conditions):
    rows = [dict(zip(VALUES, row, strict=True)) for row in zip(*VALUES.values(), strict=True)]
    return torch.stack([conditions.encode(row) for row in rows])


def test_numbers_are_standardized_and_labels_are_one_hot(conditions):
    rows = encoded(conditions)
    assert rows.shape == (4, conditions.size) == (4, 2 + 3 + 2)
    for column in (1, 6):
        assert rows[:, column].mean().abs() < 1e-6
        assert rows[:, column].std() == pytest.approx(1)
    assert rows[:, 2:5].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert (rows[:, [0, 5]] == 1).all()


def test_what_is_left_out_is_zero_and_what_is_given_is_not(conditions):
    assert (conditions.encode({}) == 0).all()
    middle = conditions.encode({"score": 0.8})  # the mean must not look like nothing
    assert middle[0] == 1 and (middle[2:] == 0).all()
    given = conditions.encode({"run": "b", "step": "2.5"})
    assert given.tolist() == [0, 0, 0, 1, 0, 1, 0]


def test_they_survive_json(conditions):
    again = Conditions.from_json(conditions.to_json())
    assert again == conditions
    assert torch.equal(encoded(again), encoded(conditions))
    with pytest.raises(ValueError, match="labels"):
        Conditions.from_json([{"kind": "label", "name": "run", "labels": ["a"]}])


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"scores": 0.8}, "'scores': unknown; the nearest is 'score'"),
        ({"score": "high"}, "score: 'high' is not a number"),
        ({"score": "nan"}, "score: 'nan' is not a number"),
        ({"run": "d"}, "run: 'd' is not among a, b, c"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(conditions, wanted, told):
    with pytest.raises(UserError, match=told) as caught:
        conditions.encode(wanted)
    assert len(str(caught.value).splitlines()) == 1


def test_without_conditions_nothing_can_be_asked_for():
    assert Conditions().encode({}).shape == (0,)
    with pytest.raises(UserError, match="score: the pipeline was trained without conditions"):
        Conditions().encode({"score": 0.8})


def test_what_all_checkpoints_share_is_no_condition():
    with pytest.raises(UserError, match="step: the checkpoints must differ in it, but it is 3"):
        Conditions.fit({"step": [3, 3]})


def test_extrapolation_is_told(conditions):
    assert conditions.extrapolated({"score": 0.9, "step": 1, "run": "a"}) == []
    assert conditions.extrapolated({"score": "0.95", "step": 2}) == [
        "condition score=0.95 extrapolates: the zoo has 0.7 to 0.9"
    ]


@pytest.mark.parametrize("names", [["score"], ["score", "run", "step"]])
def test_conditions_are_left_out_whole_and_as_often_as_said(names):
    conditions = Conditions.fit({name: VALUES[name] for name in names})
    ones = torch.ones(20_000, conditions.size)
    generator = torch.Generator().manual_seed(0)
    found = conditions.left_out(ones, 0.2, generator)
    sizes = [one.size for one in conditions.known]
    kept = [part.mean(1) for part in found.split(sizes, dim=1)]
    assert all(((part == 0) | (part == 1)).all() for part in kept)
    share_without = float((found == 0).all(1).float().mean())
    several = len(names) > 1
    assert share_without == pytest.approx(0.2 + 0.8 * 0.2**3 if several else 0.2, abs=0.015)
    for part in kept:
        assert float(part.mean()) == pytest.approx(0.64 if several else 0.8, abs=0.015)
