"""Examples by row number: joining two splits is concatenation, and batches are all of it."""

import pytest
import torch

from paramdiff.scoring.inputs import JoinedInputs, batches, join

FIRST, SECOND = torch.arange(10.0).view(5, 2), torch.arange(10.0, 16.0).view(3, 2)


@pytest.mark.parametrize(
    "rows",
    [
        slice(0, 8),
        slice(3, 7),
        slice(0, 5),
        slice(5, 8),
        slice(6, 100),
        slice(0, 0),
        torch.tensor([7, 0, 5, 4, 4]),
        torch.tensor([6, 5]),
        torch.tensor([1]),
    ],
    ids=str,
)
def test_joining_is_concatenation(rows):
    joined = JoinedInputs(FIRST, SECOND)
    assert len(joined) == 8
    assert joined[rows].equal(torch.cat([FIRST, SECOND])[rows])


def test_two_tensors_give_a_tensor():
    assert torch.equal(join(FIRST, SECOND), torch.cat([FIRST, SECOND]))
    assert isinstance(join(JoinedInputs(FIRST, SECOND), FIRST), JoinedInputs)


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_batches_are_all_examples_in_order(size):
    found = list(batches(FIRST, size))
    assert torch.cat(found).equal(FIRST)
    assert all(len(batch) == size for batch in found[:-1]) and len(found[-1]) <= size
    assert torch.cat(list(batches(FIRST, size, 1, 4))).equal(FIRST[1:4])
