"""Weight averages against closed forms; the greedy soup against trying everything by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paramdiff.evaluation.metrics.diversity import dispersion
from paramdiff.methods.averages import AVERAGE, GREEDY_SOUP
from paramdiff.methods.interpolation import INTERPOLATION

from .contexts import LAYOUT, SIZE, built, context, generator, raw_originals


def test_the_average_is_the_mean_of_all():
    """Of raw values: the mean of running variances is not that of their logarithms."""
    given = context()
    made = built(AVERAGE.at("all"), given)
    torch.testing.assert_close(
        made.raw, given.raw.double().mean(0).float()[None], rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(made.vectors, given.normalization.apply(made.raw))
    places = [slot for slot in LAYOUT.slots if slot.is_running_variance]
    for slot in places:
        place = slice(slot.start, slot.stop)
        in_logs = given.normalization.invert(given.originals.mean(0))[place]
        assert (made.raw[0, place] / in_logs).mean() > 1.01  # Jensen
    assert places


@pytest.mark.parametrize(
    "member", [AVERAGE.at(3), GREEDY_SOUP.at(None), INTERPOLATION.at(None), INTERPOLATION.at(0.3)]
)
def test_every_average_lies_between_the_originals_raw_values(member):
    given = context()
    made = built(member, given)
    least, most = given.raw.min(0).values, given.raw.max(0).values
    slack = 1e-5 * (1 + most.abs())
    assert (made.raw >= least - slack).all() and (made.raw <= most + slack).all()
    torch.testing.assert_close(made.vectors, given.normalization.apply(made.raw))


@pytest.mark.parametrize("num", [1, 8])
def test_averages_of_equal_checkpoints_are_that_checkpoint(num):
    given = context(raw_originals(1).expand(num, -1))
    members = (
        [AVERAGE.at("all")]
        if num == 1
        else [AVERAGE.at("all"), AVERAGE.at(2), INTERPOLATION.at(None)]
    )
    for member in members:
        vectors = built(member, given).vectors
        assert vectors.allclose(given.originals[:1], rtol=1e-5, atol=1e-6)


def test_an_average_of_all_members_is_the_average_of_all():
    given = context()
    assert built(AVERAGE.at(6), given).raw.allclose(given.raw.mean(0), rtol=1e-4, atol=1e-5)


def test_an_average_draws_different_originals():
    given = context(originals=torch.eye(6, SIZE))  # a member shows in its own coordinate
    shares = built(AVERAGE.at(4), given, count=50).vectors[:, :6]
    assert shares.gt(0).sum(1).eq(4).all()
    assert shares.sum(1).allclose(torch.ones(50))
    assert len(shares.unique(dim=0)) > 5


@pytest.mark.parametrize("members", [2, 16])
def test_averages_of_k_spread_as_their_number_tells(members):
    """Drawn without replacement: variance 1/k, less a finite-population correction."""
    given = context(originals=torch.randn(200, SIZE, generator=generator()))
    spread = dispersion(built(AVERAGE.at(members), given, count=400).vectors, given.originals)
    expected = ((1 / members) * (1 - (members - 1) / 199)) ** 0.5
    assert spread == pytest.approx(expected, rel=0.05)


def test_interpolations_lie_between_two_originals():
    shares = built(
        INTERPOLATION.at(None), context(originals=torch.eye(6, SIZE)), count=300
    ).vectors[:, :6]
    assert shares.gt(0).sum(1).eq(2).all()
    assert shares.sum(1).allclose(torch.ones(300))
    # anywhere on the line: shares are uniform between 0 and 1
    drawn = shares[shares.gt(0)]
    assert drawn.mean().item() == pytest.approx(0.5, abs=1e-6)  # the two shares of a pair
    assert drawn.var().item() == pytest.approx(1 / 12, rel=0.15)


def soup_of(vectors, target):
    """Accuracy falls with the distance from a target: what is best can be worked out by hand."""

    def validate(candidates):
        return 1 / (1 + (candidates - target).norm(dim=1))

    given = context(originals=vectors, validation_score=validate(vectors), validate=validate)
    return built(GREEDY_SOUP.at(None), given).vectors[0], validate


def greedy_by_hand(vectors, accuracy, validate):
    """The recipe of the paper, with lists."""
    members = []
    best = -1.0
    for row in sorted(range(len(vectors)), key=lambda row: (-float(accuracy[row]), row)):
        mean = vectors[[*members, row]].double().mean(0)
        found = float(validate(mean.float()[None])[0])
        if found >= best:
            members, best = [*members, row], found
    return members


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 7), st.integers(0, 10_000))
def test_the_soup_is_the_recipe_and_never_below_the_best_original(num, seed):
    vectors = torch.randn(num, SIZE, generator=generator(seed))
    target = 0.2 * torch.randn(SIZE, generator=generator(seed + 1))
    soup, validate = soup_of(vectors, target)
    expected = vectors[greedy_by_hand(vectors, validate(vectors), validate)].mean(0)
    torch.testing.assert_close(soup, expected, rtol=1e-5, atol=1e-6)
    assert validate(soup[None]).item() >= validate(vectors).max().item() - 1e-6


def test_the_soup_stops_at_the_best_original_where_every_average_is_worse():
    vectors = torch.eye(4, SIZE)
    soup, _ = soup_of(vectors, vectors[2])
    assert soup.equal(vectors[2])


def test_an_equally_good_average_stays_in_the_soup():
    """All alike on validation data: nothing is turned away, and the order is the seed's."""

    def tried_with(seed):
        tried = []

        def validate(candidates):
            tried.append(candidates[0].gt(0).nonzero().flatten().tolist())
            return torch.full((len(candidates),), 0.5)

        given = context(
            originals=torch.eye(4, SIZE),
            validation_score=torch.full((4,), 0.5),
            validate=validate,
        )
        soup = built(GREEDY_SOUP.at(None), given, seed=seed).vectors[0]
        assert soup[:4].allclose(torch.full((4,), 0.25))
        return tried

    assert [len(members) for members in tried_with(0)] == [2, 3, 4]
    assert tried_with(3) == tried_with(3)
    assert len({tuple(map(tuple, tried_with(seed))) for seed in range(20)}) > 5


def test_better_originals_come_first_whatever_the_seed():
    tried = []

    def validate(candidates):
        tried.append(candidates[0].gt(0).nonzero().flatten().tolist())
        return torch.zeros(len(candidates))

    given = context(
        originals=torch.eye(4, SIZE),
        validation_score=torch.tensor([0.5, 0.7, 0.6, 0.7]),
        validate=validate,
    )
    for seed in range(5):
        built(GREEDY_SOUP.at(None), given, seed=seed)
    assert all(tried[place : place + 3][1:] for place in range(0, 15, 3))
    assert {tuple(members) for members in tried[0::3]} == {(1, 3)}
    firsts = {(min(a), min(b)) for a, b in zip(tried[1::3], tried[2::3], strict=True)}
    assert len(firsts) > 1  # 1 or 3 begins, then 2, then 0


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_interpolations_at_a_share_lie_there(share):
    shares = built(
        INTERPOLATION.at(share), context(originals=torch.eye(6, SIZE)), count=50
    ).vectors
    found = shares[:, :6].sort(1).values
    assert found[:, :4].eq(0).all()
    assert found[:, 4].allclose(torch.tensor(share))
    assert found[:, 5].allclose(torch.tensor(1 - share))
