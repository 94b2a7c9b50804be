"""Units in any order: permuted copies are found, and independent runs are named."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn
from torch.func import functional_call

from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.inputs import EvaluationInputs
from paramdiff.evaluation.metrics.aligned_distance import AlignedSpace, are_unordered
from paramdiff.evaluation.predictor import classification
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.permutation.symmetry import find_symmetries

NETWORK = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
STATE = NETWORK.state_dict()
LAYOUT = ParameterLayout.of(STATE, list(STATE))
NUM_VALIDATION, NUM_TEST = 20, 60


def generator(seed):
    return torch.Generator().manual_seed(seed)


@cache
def symmetries():
    return find_symmetries(NETWORK, LAYOUT, torch.randn(2, 4))


def networks(num, seed):
    """Independent networks."""
    return torch.randn(num, LAYOUT.num_parameters, generator=generator(seed))


def labels(vectors):
    points = torch.randn(NUM_VALIDATION + NUM_TEST, 4, generator=generator(0))
    logits = [functional_call(NETWORK, LAYOUT.unflatten(v), (points,)) for v in vectors.float()]
    return torch.stack(logits).argmax(2)


def evaluated(generated, **fields):
    truth = torch.randint(3, (NUM_VALIDATION + NUM_TEST,), generator=generator(1))
    predictor = classification(labels, truth[:NUM_VALIDATION], truth[NUM_VALIDATION:])
    inputs = EvaluationInputs(
        layout=LAYOUT,
        originals=networks(12, 2),
        held_out=networks(3, 3),
        generated=generated,
        hold_out="run",
        runs=torch.arange(12),
        title="",
        facts={},
        symmetries=symmetries(),
    )
    return evaluate(replace(inputs, **fields), predictor, EvaluationSettings())[0]


def test_copies_in_disguise_are_copies_only_where_units_may_move():
    disguised = [symmetries().permute_randomly(v, generator(9)) for v in networks(12, 2)]
    found = evaluated(torch.stack(disguised)).groups
    for name in ("generated", "rearranged"):
        group = found[name]
        assert group.copies == 0.0
        assert group.aligned.copies == 1.0
        assert group.aligned.min_distance.max < 1e-4 < group.min_distance.min
    assert found["rearranged"].max_similarity_with_source.min == 1.0
    assert found["generated"].max_similarity.min == 1.0
    fresh = found["held_out"].aligned
    assert fresh.n == 3 and fresh.copies == 0.0
    assert found["original"].aligned.copies is None
    assert found["original"].aligned.min_distance.min > 0.1  # an original is not its own
    assert found["noise@0.05"].aligned is None


def test_aligned_distances_are_never_longer():
    originals, others = networks(12, 2), networks(5, 4)
    space = AlignedSpace(originals, symmetries(), seed=0)
    plain = torch.cdist(others, originals).amin(1)
    aligned = space.nearest(others)
    assert (aligned <= plain + 1e-5).all() and (aligned < 0.95 * plain).any()


def test_the_only_original_has_no_neighbor():
    originals = networks(1, 2)
    space = AlignedSpace(originals, symmetries(), seed=0)
    assert torch.isinf(space.nearest(originals, torch.tensor([0]))).all()


def test_without_a_known_structure_nothing_is_aligned():
    found = evaluated(networks(4, 5), symmetries=None)
    assert "rearranged" not in found.groups
    assert all(group.aligned is None for group in found.groups.values())
    assert not any("parameters.align" in warning for warning in found.verdict.warnings)


def test_independent_runs_are_warned_of():
    warnings = evaluated(networks(4, 5)).verdict.warnings
    assert any("parameters.align brings them into one order" in one for one in warnings)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, True), (0.1, True), (0.5, False), (2.0, False)]
)
def test_networks_with_something_in_common_are_in_order(share, expected):
    """``share`` squared over one more is what two of them have in common of their length."""
    vectors = networks(40, 6) + share * networks(1, 7)
    assert are_unordered(vectors) == expected


def test_one_network_is_in_order():
    assert not are_unordered(networks(1, 0))
