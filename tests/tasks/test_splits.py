"""A validation split is a seeded, stratified part of the training data."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paramdiff.errors import UserError
from paramdiff.tasks.splits import carve, num_validation, split_sizes


@given(st.integers(2, 12), st.integers(2, 40), st.integers(0, 5))
def test_a_partition_in_proportion(num_classes, each, seed):
    labels = torch.arange(num_classes * each) % num_classes
    train, validation = carve(labels, num_classes, seed)
    rows = torch.cat([train, validation])
    assert rows.sort().values.equal(torch.arange(len(labels)))
    assert train.equal(train.sort().values) and validation.equal(validation.sort().values)
    counts = torch.bincount(labels[validation], minlength=num_classes)
    assert counts.max() - counts.min() <= 1 and counts.min() >= 1
    sizes = split_sizes(len(labels), 7, num_classes, "validation")
    assert sizes == (len(train), len(validation), 7)


def test_a_seed_decides():
    labels = torch.arange(100) % 5
    first, same, other = (carve(labels, 5, seed)[1] for seed in (0, 0, 1))
    assert first.equal(same) and not first.equal(other)


@pytest.mark.parametrize(
    ("num_train", "num_classes", "expected"),
    [(50_000, 10, 5_000), (1_281_167, 1000, 5_000), (1_020, 102, 102), (20, 7, 7)],
)
def test_a_tenth_but_one_per_class_and_not_too_many(num_train, num_classes, expected):
    assert num_validation(num_train, num_classes) == expected


def test_the_papers_protocol_sets_nothing_aside():
    assert split_sizes(50_000, 10_000, 10, "paper") == (50_000, 10_000, 10_000)


def test_a_class_of_one_example_cannot_be_split():
    with pytest.raises(UserError, match=r"^task\.protocol: 5 training examples of 2 classes"):
        carve(torch.tensor([0, 0, 0, 0, 1]), 2, 0)
