"""A pipeline that is pulled towards a score of the networks that it makes."""

import pytest
import torch

from paramdiff.energies import larger_distance
from paramdiff.errors import UserError
from paramdiff.pipeline import ParameterDiffusionPipeline
from tests.pipeline.parts import KINDS, build


def score(vectors):
    """Smooth, and different in every parameter."""
    weights = torch.linspace(-1, 1, vectors.shape[1]).to(vectors)
    return -(vectors - weights).square().mean(1)


@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_gradients_through_the_decoder_are_finite_differences(kinds, temperature):
    pipeline = build(*kinds)
    pipeline.codec.double()
    generator = torch.Generator().manual_seed(0)
    latents, direction = torch.randn(
        2, 3, pipeline.codec.latent_dim, generator=generator, dtype=torch.float64
    )
    of_latents = pipeline.latent_score(score, temperature)

    def along(step):
        return of_latents(latents + step * direction, range(3))

    moving = latents.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(of_latents(moving, range(3)).sum(), moving)
    differences = (along(1e-5) - along(-1e-5)) / 2e-5
    torch.testing.assert_close((slopes * direction).sum(1), differences, rtol=1e-5, atol=1e-9)


def test_the_score_is_that_of_the_networks_that_come_out(pipeline):
    latents, seeds = torch.randn(4, pipeline.codec.latent_dim), [5, 6, 7, 8]
    found = pipeline.latent_score(score, 0.7)(latents, seeds)
    expected = score(pipeline.decode(latents, seeds, 0.7))
    torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("solver", ["ddpm", "ddim"])
def test_guided_networks_score_higher_and_pushed_away_ones_lower(solver):
    pipeline = build(solver=solver)
    plain = score(pipeline(seeds=range(6)).vectors)
    for scale in (20.0, -20.0):
        guided = score(pipeline(seeds=range(6), energy=score, energy_scale=scale).vectors)
        assert ((guided - plain) * scale > 0).all()
    same = pipeline(seeds=range(6), energy=score, energy_scale=0.0)
    assert torch.equal(same.vectors, pipeline(seeds=range(6)).vectors)


def test_networks_leave_those_that_they_are_pushed_from():
    pipeline = build()
    given = pipeline(seeds=range(3)).vectors
    distance = larger_distance(given, pipeline.parameter_space)
    plain = pipeline(seeds=range(10, 14)).vectors
    away = pipeline(seeds=range(10, 14), energy=distance, energy_scale=5.0).vectors
    assert (distance(away) > distance(plain)).all()


def test_an_energy_joins_a_condition(tmp_path):
    from .test_conditions import ASKED, CONDITIONS

    pipeline = build(conditions=CONDITIONS)
    asked = score(pipeline(seeds=range(4), condition=ASKED).vectors)
    both = pipeline(seeds=range(4), condition=ASKED, energy=score, energy_scale=20.0)
    assert (score(both.vectors) > asked).all()


def test_an_energy_without_gradient_is_refused_and_without_a_denoiser_too(pipeline):
    with pytest.raises(UserError, match="have no gradient"):
        pipeline(seeds=[0], energy=lambda vectors: score(vectors.detach()))
    bare = ParameterDiffusionPipeline(pipeline.parameter_space, pipeline.codec, None, None)
    with pytest.raises(UserError, match=r"energy: .* has no effect"):
        bare(seeds=[0], energy=score)
