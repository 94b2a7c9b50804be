"""Overlap of wrong predictions, against counting by hand and with sets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paramdiff.evaluation.metrics.similarity import (
    maximum_similarity,
    pairwise_similarity,
    similarity_matrix,
)

TRUTH = torch.tensor([0, 1, 2, 0, 1, 2])
LABELS = torch.tensor(
    [
        [0, 1, 2, 0, 1, 2],  # no error
        [1, 1, 2, 0, 2, 2],  # wrong on 0, 4
        [1, 0, 2, 0, 1, 2],  # wrong on 0, 1
        [2, 0, 2, 0, 0, 2],  # wrong on 0, 1, 4
        [0, 1, 0, 1, 1, 0],  # wrong on 2, 3, 5
    ]
)
WRONG = LABELS != TRUTH


@st.composite
def error_sets(draw):
    num_examples = draw(st.integers(1, 8))
    row = st.lists(st.booleans(), min_size=num_examples, max_size=num_examples)
    rows = draw(st.lists(row, min_size=2, max_size=6))
    return torch.tensor(rows)


def iou(one, other):
    """The definition, with sets; both empty is 1."""
    one, other = ({i for i, wrong in enumerate(row.tolist()) if wrong} for row in (one, other))
    return len(one & other) / len(one | other) if one | other else 1.0


def test_six_examples_by_hand():
    torch.testing.assert_close(
        similarity_matrix(WRONG, WRONG),
        torch.tensor(
            [
                [1, 0, 0, 0, 0],
                [0, 1, 1 / 3, 2 / 3, 0],
                [0, 1 / 3, 1, 2 / 3, 0],
                [0, 2 / 3, 2 / 3, 1, 0],
                [0, 0, 0, 0, 1],
            ]
        ),
    )


def test_perfect_networks():
    """Both without an error is 1; one without errors against one with some is 0."""
    perfect, imperfect = WRONG[:1], WRONG[1:2]
    assert similarity_matrix(perfect, perfect).item() == 1
    assert similarity_matrix(perfect, imperfect).item() == 0
    assert similarity_matrix(imperfect, perfect).item() == 0


def test_disjoint_errors_are_0_and_complete_failure_is_the_share():
    assert similarity_matrix(WRONG[3:4], WRONG[4:5]).item() == 0
    everything = torch.ones(1, 6)
    assert similarity_matrix(everything, WRONG[3:4]).item() == pytest.approx(0.5)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(error_sets())
def test_the_matrix_is_the_definition_symmetric_and_1_with_itself(wrong):
    matrix = similarity_matrix(wrong, wrong)
    for i, one in enumerate(wrong):
        for j, other in enumerate(wrong):
            assert matrix[i, j].item() == pytest.approx(iou(one, other))
    assert matrix.equal(matrix.T)
    assert matrix.diagonal().eq(1).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(error_sets(), st.data())
def test_the_maximum_leaves_the_source_out(wrong, data):
    originals, networks = wrong, wrong.flip(1)
    numbers = st.integers(0, len(originals) - 1)
    source = data.draw(st.lists(numbers, min_size=len(networks), max_size=len(networks)))
    found = maximum_similarity(networks, originals, torch.tensor(source))
    for i, network in enumerate(networks):
        others = [iou(network, one) for j, one in enumerate(originals) if j != source[i]]
        assert found[i].item() == pytest.approx(max(others))
    complete = maximum_similarity(networks, originals)
    assert (complete >= found).all()
    for i, network in enumerate(networks):
        assert complete[i].item() == pytest.approx(max(iou(network, one) for one in originals))


def test_copies_have_similarity_1_unless_their_source_is_left_out():
    assert maximum_similarity(WRONG, WRONG).eq(1).all()
    without = maximum_similarity(WRONG, WRONG, torch.arange(5))
    torch.testing.assert_close(without, torch.tensor([0, 2 / 3, 2 / 3, 2 / 3, 0]))


def test_nothing_left_is_minus_infinity():
    assert maximum_similarity(WRONG[:2], WRONG[:1], torch.tensor([0, 0])).eq(-torch.inf).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(error_sets())
def test_the_pairwise_mean_is_a_double_loop(wrong):
    values = [
        iou(one, other) for i, one in enumerate(wrong) for j, other in enumerate(wrong) if i != j
    ]
    assert pairwise_similarity(wrong) == pytest.approx(sum(values) / len(values), abs=1e-6)


def test_one_network_has_no_pairs():
    assert pairwise_similarity(WRONG[:1]) is None


def test_large_counts_are_exact():
    """10,000 examples: the counts in the matrix product stay exact in float32."""
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(20, 10_000, generator=generator) < 0.3
    exact = wrong.double()
    intersection = exact @ exact.T
    union = exact.sum(1)[:, None] + exact.sum(1) - intersection
    torch.testing.assert_close(
        similarity_matrix(wrong, wrong).double(), intersection / union, rtol=1e-6, atol=0
    )
