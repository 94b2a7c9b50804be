"""Random numbers of a group: each network has its own, whatever is made beside it."""

import pytest
import torch

from paramdiff.methods.draws import Draws
from paramdiff.methods.registry import METHODS

from .contexts import MEMBERS, context, raw_originals

KINDS = {
    "normal": lambda draws: draws.normal(40),
    "uniform": lambda draws: draws.uniform(),
    "integers": lambda draws: draws.integers(1000),
    "subsets": lambda draws: draws.subsets(20, 3),
    "in_turn": lambda draws: draws.in_turn(7),
}
every_kind = pytest.mark.parametrize("draw", KINDS.values(), ids=KINDS.keys())


@every_kind
def test_the_numbers_of_a_network_do_not_depend_on_the_others(draw):
    all_of_them = draw(Draws(9, 3, "name"))
    assert draw(Draws(4, 3, "name")).equal(all_of_them[:4])
    assert draw(Draws([7, 2], 3, "name")).equal(all_of_them[[7, 2]])
    assert draw(Draws(9, 3, "name").first(5)).equal(all_of_them[:5])


@every_kind
def test_the_seed_determines_the_numbers(draw):
    one, same, other = (draw(Draws(9, seed, "name")) for seed in (0, 0, 1))
    assert one.equal(same) and not one.equal(other)
    assert not one.equal(draw(Draws(9, 0, "other name")))
    assert not one.equal(draw(Draws(9, 0, "name").for_purpose("choice", 9)))


@pytest.mark.parametrize("draw", [KINDS[name] for name in ("normal", "uniform", "subsets")])
def test_generators_advance(draw):
    draws = Draws(9, 0)
    assert not draw(draws).equal(draw(draws))


def test_normal_numbers_are_independent_and_standard():
    found = Draws(300, 0).normal(300)
    assert found.mean().item() == pytest.approx(0, abs=0.01)
    assert found.std().item() == pytest.approx(1, abs=0.01)
    assert (torch.corrcoef(found) - torch.eye(300)).abs().max() < 0.3


def test_integers_uniforms_and_subsets_cover_their_range():
    assert torch.bincount(Draws(6000, 0).integers(6), minlength=6).sub(1000).abs().max() < 150
    uniform = Draws(3000, 0).uniform()
    assert 0 <= uniform.min() < 0.01 and 0.99 < uniform.max() < 1
    subsets = Draws(3000, 0).subsets(5, 2)
    assert subsets[:, 0].ne(subsets[:, 1]).all()
    assert torch.bincount(subsets.flatten()).sub(1200).abs().max() < 150


@pytest.mark.parametrize("count", [1, 6, 7, 20])
def test_integers_in_turn_are_balanced_and_shuffled(count):
    uses = torch.bincount(Draws(count, 0).in_turn(6), minlength=6)
    assert uses.max() - uses.min() <= 1
    assert len({tuple(Draws(count, seed).in_turn(6).tolist()) for seed in range(8)}) > 2


@pytest.mark.parametrize("member", MEMBERS, ids=lambda one: one.name)
def test_a_network_is_the_same_whatever_is_made_beside_it(member):
    given = context(raw_originals(max(8, member.min_originals)))
    many, few = (member.sample(given, Draws(count, 5)) for count in (8, 3))
    num = len(few.vectors)
    torch.testing.assert_close(many.vectors[:num], few.vectors, rtol=1e-6, atol=1e-6)
    if many.source is not None:
        assert many.source[:num].equal(few.source)
    alone = member.sample(given, Draws([2], 5))
    if num == 3:
        torch.testing.assert_close(alone.vectors, many.vectors[[2]], rtol=1e-6, atol=1e-6)


def test_a_network_of_a_run_is_the_same_whatever_is_made_beside_it():
    given = context(raw_originals(12), runs=torch.arange(12) // 4)
    member = METHODS["multiswag"].at(1.0)
    many = member.sample(given, Draws(8, 5)).vectors
    found = member.sample(given, Draws([4, 7], 5)).vectors
    torch.testing.assert_close(found, many[[4, 7]], rtol=1e-6, atol=1e-6)
