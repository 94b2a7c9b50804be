"""The data-copying test: exact counts, calibration on fresh draws, and copies that it must see."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from paramdiff.evaluation.metrics.diversity import dispersion
from paramdiff.evaluation.metrics.memorization import (
    rescaled,
    z_u,
    z_u_in_parameters,
)
from paramdiff.evaluation.metrics.nearest_neighbors import (
    COPY_DISTANCE,
    neighbor_distances,
    share_of_copies,
)

NUM_REPETITIONS = 300
SIZE = 5


def cloud(num, generator, scale=1.0):
    return scale * torch.randn(num, SIZE, generator=generator)


def by_hand(group, held_out):
    """Every pair: 1 where the group's is farther, one half where both are as far."""
    count = sum(
        1.0 if own > other else 0.5 if own == other else 0.0
        for own in group.tolist()
        for other in held_out.tolist()
    )
    m, n = len(group), len(held_out)
    return (count - m * n / 2) / (m * n * (m + n + 1) / 12) ** 0.5


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=9),
    st.lists(st.integers(0, 6), min_size=1, max_size=9),
)
def test_the_count_is_a_double_loop_with_ties(group, held_out):
    group, held_out = torch.tensor(group).float(), torch.tensor(held_out).float()
    assert z_u(group, held_out) == pytest.approx(by_hand(group, held_out))
    assert z_u(held_out, group) == pytest.approx(-by_hand(group, held_out))


def test_without_ties_it_is_scipys_p_value():
    generator = torch.Generator().manual_seed(0)
    group, held_out = torch.rand(40, generator=generator), torch.rand(50, generator=generator)
    z = torch.tensor(z_u(group, held_out), dtype=torch.float64)
    expected = mannwhitneyu(
        group.numpy(), held_out.numpy(), alternative="less", method="asymptotic",
        use_continuity=False,
    )  # fmt: skip
    assert torch.special.ndtr(z).item() == pytest.approx(float(expected.pvalue), rel=1e-6)


def test_the_extremes():
    """All nearer: the count is 0; all alike: exactly half."""
    near, far = torch.zeros(50), torch.ones(50)
    lowest = -(2500 / 2) / (2500 * 101 / 12) ** 0.5
    assert z_u(near, far) == pytest.approx(lowest) and lowest < -8
    assert z_u(far, near) == pytest.approx(-lowest)
    assert z_u(far, far) == 0


def study(make, *, stretch=True):
    """``Z_U`` of many fresh zoos with 50 fresh held-out and 50 made networks each."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(NUM_REPETITIONS):
        originals, held_out = cloud(60, generator), cloud(50, generator)
        made = make(originals, generator)
        if stretch:
            made = rescaled(made, dispersion(made, originals))
        own, other = (neighbor_distances(group, originals).nearest for group in (made, held_out))
        found.append(z_u(own, other))
    return np.array(found)


def test_fresh_draws_are_standard_normal():
    """Mean 0 and deviation 1, within the simulation's error (4 sigma)."""
    found = study(lambda originals, generator: cloud(50, generator), stretch=False)
    assert abs(found.mean()) < 4 / NUM_REPETITIONS**0.5
    assert found.std() == pytest.approx(1, abs=4 / (2 * NUM_REPETITIONS) ** 0.5)
    assert (found < -3).mean() < 0.015


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_rescaled_the_test_does_not_measure_spread(scale):
    """Fresh draws from a narrower distribution lie nearer, and copy nothing."""
    found = study(lambda originals, generator: cloud(50, generator, scale))
    assert abs(found.mean()) < 0.35
    assert 0.75 < found.std() < 1.2
    if scale != 1:
        raw = study(lambda originals, generator: cloud(50, generator, scale), stretch=False)
        assert abs(raw.mean()) > 3


@pytest.mark.parametrize("whisper", [0.0, 0.05])
def test_copies_lie_far_below(whisper):
    def copy(originals, generator):
        return originals[:50] + cloud(50, generator, whisper)

    assert study(copy).max() < -7


def test_half_copies_are_seen():
    def half(originals, generator):
        return torch.cat([originals[:25], cloud(25, generator)])

    assert (study(half) < -3).mean() > 0.95


def study_in_parameters(make, spectrum):
    generator = torch.Generator().manual_seed(2)
    found = []
    for _ in range(100):
        originals, held_out = (
            torch.randn(num, len(spectrum), generator=generator) * spectrum for num in (100, 50)
        )
        made = make(originals, torch.randn(50, len(spectrum), generator=generator) * spectrum)
        stretched = rescaled(made, dispersion(made, originals))
        own, own_stretched, other = (
            neighbor_distances(group, originals).nearest for group in (made, stretched, held_out)
        )
        both = z_u(own, other), z_u(own_stretched, other)
        found.append((*both, z_u_in_parameters(own, own_stretched, other)))
    return np.array(found).T


def test_fresh_draws_of_which_few_directions_hold_the_spread_are_not_accused():
    """Two directions of 202 hold nearly all: chance in two numbers rescales all the others."""
    spectrum = torch.cat([torch.tensor([5.0, 3.0]), torch.full((200,), 0.1)])
    raw, stretched, found = study_in_parameters(lambda originals, fresh: fresh, spectrum)
    assert stretched.std() > 1.8  # by itself it is no z-score
    assert raw.std() == pytest.approx(1, abs=4 / 200**0.5)
    assert found.std() < 1 + 4 / 200**0.5 and found.min() > -3
    narrow = study_in_parameters(lambda originals, fresh: 0.5 * fresh, torch.ones(30))
    assert narrow[0].mean() < -5 and abs(narrow[2].mean()) < 0.6
    copies = study_in_parameters(lambda originals, fresh: originals[:50], spectrum)
    assert copies[2].max() < -7


def test_rescaling_gives_dispersion_1_about_the_same_mean():
    generator = torch.Generator().manual_seed(0)
    originals, vectors = cloud(30, generator), cloud(20, generator, 0.3) + 4
    found = rescaled(vectors, dispersion(vectors, originals))
    assert dispersion(found, originals) == pytest.approx(1)
    torch.testing.assert_close(found.mean(0), vectors.mean(0))


def test_the_share_of_copies_by_hand():
    own = torch.tensor([1.0, 2.0, 3.0])  # the originals' median distance is 2
    limit = COPY_DISTANCE * 2
    nearest = torch.tensor([0.0, 0.5 * limit, limit, 1.01 * limit, 9.0])
    assert share_of_copies(nearest, own) == pytest.approx(3 / 5)
    assert share_of_copies(torch.tensor([9.0]), own) == 0


def test_fresh_draws_are_no_copies_and_copies_are():
    generator = torch.Generator().manual_seed(0)
    originals = torch.randn(60, 20, generator=generator)
    own = neighbor_distances(originals, originals, torch.arange(60)).nearest

    def share(vectors):
        return share_of_copies(neighbor_distances(vectors, originals).nearest, own)

    fresh = torch.randn(50, 20, generator=generator)
    assert share(fresh) == 0
    assert share(originals) == 1
    assert share(torch.cat([originals[:10], fresh[:30]])) == 0.25


def test_equal_originals_are_copied_only_exactly():
    assert share_of_copies(torch.tensor([0.0, 1e-6]), torch.zeros(5)) == 0.5


def test_without_neighbors_nothing_can_be_said():
    assert share_of_copies(torch.tensor([1.0]), torch.tensor([torch.inf])) is None
