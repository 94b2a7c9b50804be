"""Fewer examples: the first of each split, and nothing else changes."""

import pytest
import torch
from pydantic import ValidationError

from paramdiff.errors import UserError
from paramdiff.tasks.registry import build_task, describe_task
from paramdiff.tasks.splits import FirstInputs
from paramdiff.tasks.task_settings import TaskSettings

SIZES = {"num_train": 50, "num_validation": 20, "num_test": 30}


def test_each_split_keeps_its_first_examples():
    whole, short = (build_task(TaskSettings(name="digits", **sizes)) for sizes in ({}, SIZES))
    for name, size in SIZES.items():
        split, expected = (getattr(task, name[4:]) for task in (short, whole))
        assert len(split) == size
        assert torch.equal(split.inputs, expected.inputs[:size])
        assert torch.equal(split.labels, expected.labels[:size])
    described = describe_task(TaskSettings(name="digits", **SIZES))
    assert {name: getattr(described, name) for name in SIZES} == SIZES


def test_test_data_that_select_stay_one_split():
    task = build_task(TaskSettings(name="digits", protocol="paper", num_test=30))
    assert task.selects_on_test
    assert len(task.test) == 30
    with pytest.raises(ValidationError, match="num_validation: the paper's protocol"):
        TaskSettings(name="digits", protocol="paper", num_validation=30)


def test_rows_of_inputs_that_are_decoded_when_asked_for():
    first = FirstInputs(torch.arange(9.0)[:, None], 4)
    assert len(first) == 4
    assert first[1:].flatten().tolist() == [1, 2, 3]
    assert first[torch.tensor([3, 0])].flatten().tolist() == [3, 0]
    with pytest.raises(IndexError):
        first[torch.tensor([4])]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"name": "digits", "num_train": 10**6}, r"task\.num_train: .* more than the 300 ex"),
        ({"name": "cifar10_denoising", "num_test": 3}, "needs a classification task"),
    ],
)
def test_what_cannot_be_shortened_is_refused(settings, told):
    with pytest.raises(UserError, match=told):
        describe_task(TaskSettings(**settings))
