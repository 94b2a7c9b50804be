"""Samples go where they are pulled, and scores that cannot pull are refused."""

import pytest
import torch

from paramdiff.diffusion.conditioning import Conditions
from paramdiff.diffusion.denoisers.mlp import MLPDenoiser
from paramdiff.diffusion.guidance import Guidance
from paramdiff.errors import UserError

from . import test_sampling
from .test_sampling import SIZE, STD

# diffusers' DPM-Solver calls numpy.array on a tensor, which numpy 2 deprecates for torch tensors
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONDITIONS = Conditions.fit({"score": [0.7, 0.8, 0.9], "run": ["a", "b", "a"]})
SLOPE = torch.linspace(-1, 1, SIZE)


def sample(
    guidance, denoiser=None, solver="ddim", num_inference_steps=200, seeds=range(6), **kwargs
):
    kwargs |= {"denoiser": denoiser, "guidance": guidance}
    return test_sampling.sample(solver, seeds, num_inference_steps, **kwargs)


@pytest.fixture
def conditional():
    torch.manual_seed(0)
    conditions = CONDITIONS.to_json()
    return MLPDenoiser(latent_dim=SIZE, width=24, depth=2, conditions=conditions).eval()


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_linear_score_shifts_gaussian_data_by_its_slope_times_their_variance(prediction_type):
    """The density times ``exp(scale * slope . x)`` is the same Gaussian around another mean."""

    def score(clean, seeds):
        return clean @ SLOPE

    open_ended = sample(Guidance(), prediction_type=prediction_type)
    for scale in (0.5, -2.0):
        pulled = Guidance(score=score, score_scale=scale, variance=STD**2)
        moved = sample(pulled, prediction_type=prediction_type) - open_ended
        torch.testing.assert_close(
            moved, (scale * STD**2 * SLOPE).expand(6, -1), rtol=0.05, atol=0.02
        )


@pytest.mark.parametrize(("solver", "num_inference_steps"), [("ddpm", 1000), ("dpmsolver++", 50)])
def test_other_solvers_are_guided_alike(solver, num_inference_steps):
    pull = Guidance(score=lambda clean, seeds: clean @ SLOPE, variance=STD**2)
    options = {"solver": solver, "num_inference_steps": num_inference_steps}
    moved = (sample(pull, **options) - sample(Guidance(), **options)).mean(0)
    torch.testing.assert_close(moved, STD**2 * SLOPE, rtol=0.05, atol=0.03)


def test_the_score_sees_the_seed_of_each_row():
    """Every sample is pulled by its own seed alone; padding repeats the last."""
    seen = set()

    def score(clean, seeds):
        assert len(seeds) == len(clean) == 4
        seen.update(seeds)
        return torch.tensor([float(seed == 5) for seed in seeds]) * (clean @ SLOPE)

    moved = sample(Guidance(score=score), num_inference_steps=20) - sample(
        Guidance(), num_inference_steps=20
    )
    assert seen == set(range(6))
    assert (moved[:5].abs() < 1e-5).all() and moved[5].abs().max() > 0.1


def test_no_condition_is_the_unconditional_denoiser_and_scale_1_the_conditional(conditional):
    x, t = torch.randn(4, SIZE), torch.full((4,), 300)
    asked = CONDITIONS.encode({"score": 0.85, "run": "b"})
    with torch.no_grad():
        without, given = conditional(x, t), conditional(x, t, asked.expand(4, -1))
        assert torch.equal(conditional(x, t, torch.zeros(4, CONDITIONS.size)), without)
        assert not torch.allclose(given, without, atol=1e-3)

        def predicted(scale):
            return Guidance(asked, scale).predict(conditional, x, t, torch.tensor(0.5), range(4))

        assert torch.equal(predicted(0.0), without)
        assert torch.equal(predicted(1.0), given)
        torch.testing.assert_close(predicted(3.0), without + 3 * (given - without))
    assert torch.equal(
        sample(Guidance(asked, 0.0), conditional, num_inference_steps=10),
        sample(Guidance(), conditional, num_inference_steps=10),
    )


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (lambda clean, seeds: clean.sum(), r"shape \[4\], not \[\]"),
        (lambda clean, seeds: clean, r"shape \[4\], not \[4, 16\]"),
        (lambda clean, seeds: clean.sum(1).tolist(), r"shape \[4\], not list"),
        (lambda clean, seeds: clean.detach().sum(1), "have no gradient"),
        (lambda clean, seeds: torch.ones(4, requires_grad=True) * 2, "have no gradient"),
        (lambda clean, seeds: clean.sum(1) + torch.tensor([0, 0, torch.nan, 0]), "seed 2 is nan"),
        (lambda clean, seeds: (clean.sum(1) * 0).sqrt(), "the gradient of the score of seed 0"),
    ],
)
def test_scores_that_cannot_pull_are_refused(score, told):
    with pytest.raises(UserError, match=told) as caught:
        sample(Guidance(score=score), num_inference_steps=10)
    assert len(str(caught.value).splitlines()) == 1
