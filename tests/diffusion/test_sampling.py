"""The reverse process against data whose noise prediction is known exactly."""

import pytest
import torch
from torch import nn

from paramdiff.diffusion.denoisers.conv1d import Conv1dDenoiser
from paramdiff.diffusion.denoisers.mlp import MLPDenoiser
from paramdiff.diffusion.diffusion_settings import ScheduleSettings
from paramdiff.diffusion.sampling import initial_noise, record_trajectory, sample_latents
from paramdiff.diffusion.schedule import build_scheduler

# diffusers' DPM-Solver calls numpy.array on a tensor, which numpy 2 deprecates for torch tensors
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CPU = torch.device("cpu")
SIZE = 16
MEAN, STD = torch.linspace(-2, 2, SIZE), torch.linspace(0.2, 1.5, SIZE)


class GaussianDenoiser(nn.Module):
    """What a scheduler expects of ``x_t`` where every coordinate of the data is N(MEAN, STD^2)."""

    def __init__(self, scheduler, scale=1.0):
        super().__init__()
        self.alphas_cumprod = scheduler.alphas_cumprod
        self.predicts_velocity = scheduler.config.prediction_type == "v_prediction"
        self.std = scale * STD

    def forward(self, x, t):
        alpha_bar = self.alphas_cumprod[t][:, None]
        variance = alpha_bar * self.std**2 + 1 - alpha_bar
        deviation = (x - alpha_bar.sqrt() * MEAN) / variance
        eps = (1 - alpha_bar).sqrt() * deviation
        clean = MEAN + alpha_bar.sqrt() * self.std**2 * deviation
        if self.predicts_velocity:
            return alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * clean
        return eps


def sample(
    solver,
    seeds,
    num_inference_steps,
    batch_size=4,
    denoiser=None,
    prediction_type="epsilon",
    **kwargs,
):
    scheduler = build_scheduler(ScheduleSettings(prediction_type=prediction_type), solver)
    return sample_latents(
        denoiser or GaussianDenoiser(scheduler),
        scheduler,
        seeds,
        latent_dim=SIZE,
        num_inference_steps=num_inference_steps,
        batch_size=batch_size,
        device=CPU,
        **kwargs,
    )


@pytest.fixture(params=["mlp", "conv1d"])
def network(request):
    torch.manual_seed(0)
    if request.param == "mlp":
        return MLPDenoiser(latent_dim=SIZE, width=24, depth=2).eval()
    return Conv1dDenoiser(latent_dim=SIZE, channels=(4, 8, 12, 8, 4)).eval()


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    ("solver", "num_inference_steps"), [("ddpm", 1000), ("ddim", 200), ("dpmsolver++", 100)]
)
def test_samples_of_the_exact_denoiser_have_the_datas_mean_and_deviation(
    solver, num_inference_steps, prediction_type
):
    count = 256
    samples = sample(
        solver,
        range(count),
        num_inference_steps,
        batch_size=count,
        prediction_type=prediction_type,
    )
    standard = (samples - MEAN) / STD
    assert standard.mean().abs() < 4 / (count * SIZE) ** 0.5
    assert (standard.std() - 1).abs() < 4 / (2 * count * SIZE) ** 0.5
    assert standard.mean(0).abs().max() < 4.5 / count**0.5
    assert (standard.std(0) - 1).abs().max() < 4.5 / (2 * count) ** 0.5
    correlation = torch.corrcoef(standard.T) - torch.eye(SIZE)
    assert correlation.abs().max() < 4.5 / count**0.5


@pytest.mark.parametrize(
    ("solver", "num_inference_steps"), [("ddpm", 1000), ("ddim", 500), ("dpmsolver++", 50)]
)
def test_no_velocity_is_the_exact_denoiser_of_standard_normal_latents(solver, num_inference_steps):
    class Silent(nn.Module):
        def forward(self, x, t):
            return torch.zeros_like(x)

    count = 1024
    options = {"batch_size": count, "denoiser": Silent(), "prediction_type": "v_prediction"}
    samples = sample(solver, range(count), num_inference_steps, **options)
    assert samples.mean().abs() < 4 / (count * SIZE) ** 0.5
    assert samples.std().item() == pytest.approx(1, abs=0.01)
    assert (torch.corrcoef(samples.T) - torch.eye(SIZE)).abs().max() < 4.5 / count**0.5


@pytest.mark.parametrize("num_inference_steps", [20, 50])
@pytest.mark.parametrize("scale", [0.1, 0.3])
def test_few_steps_of_dpm_keep_the_spread_of_latents_that_hardly_spread(
    num_inference_steps, scale
):
    exact = GaussianDenoiser(build_scheduler(ScheduleSettings()), scale)
    samples = sample(
        "dpmsolver++", range(256), num_inference_steps, batch_size=256, denoiser=exact
    )
    assert (samples - MEAN).div(exact.std).std() == pytest.approx(1, abs=0.05)


def test_initial_noise_belongs_to_the_seed():
    together, _ = initial_noise([3, 1, 2], SIZE)
    for row, seed in zip(together, [3, 1, 2], strict=True):
        assert torch.equal(row, initial_noise([seed], SIZE)[0][0])
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpmsolver++"])
def test_bits_of_a_sample_depend_on_its_seed_alone_at_one_batch_size(solver, network):
    one = sample(solver, [1, 2, 3, 4, 5, 6], 20, denoiser=network)
    other = sample(solver, [6, 9, 1], 20, denoiser=network)
    assert torch.equal(one[5], other[0])
    assert torch.equal(one[0], other[2])
    assert not torch.equal(one[0], one[1])


@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpmsolver++"])
def test_noise_of_a_sample_does_not_depend_on_the_batch_size(solver):
    alone = sample(solver, [7], 20, batch_size=1)
    in_company = sample(solver, [4, 5, 6, 7], 20, batch_size=4)
    torch.testing.assert_close(alone[0], in_company[3], rtol=0, atol=1e-4)


@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpmsolver++"])
def test_same_seeds_same_bits_and_the_global_stream_is_untouched(solver):
    stream = torch.get_rng_state()
    first = sample(solver, [1, 2], 10)
    assert torch.equal(torch.get_rng_state(), stream)
    torch.rand(3)
    assert torch.equal(sample(solver, [1, 2], 10), first)


@pytest.mark.parametrize(
    ("solver", "is_deterministic"), [("ddim", True), ("dpmsolver++", True), ("ddpm", False)]
)
def test_only_ancestral_sampling_draws_noise_on_the_way(solver, is_deterministic):
    """The same initial noise leads to the same end exactly where no step adds noise."""
    scheduler = build_scheduler(ScheduleSettings(), solver)
    denoiser = GaussianDenoiser(scheduler)
    start = initial_noise([0], SIZE)[0]
    ends = []
    for seed in (10, 11):
        x, kwargs = (
            start,
            {} if solver == "dpmsolver++" else {"generator": torch.Generator().manual_seed(seed)},
        )
        scheduler.set_timesteps(20)
        for t in scheduler.timesteps:
            x = scheduler.step(denoiser(x, t.expand(1)), t, x, return_dict=False, **kwargs)[0]
        ends.append(x)
    assert torch.equal(*ends) == is_deterministic
    if is_deterministic:
        assert torch.equal(ends[0], sample(solver, [0], 20, batch_size=1))


def test_recorder_and_progress_see_every_step():
    seen, calls = [], []
    samples = sample(
        "ddim",
        [1, 2, 3],
        5,
        batch_size=2,
        record=lambda t, x: seen.append((t, len(x))),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert samples.shape == (3, SIZE)
    assert calls == [(done, 10) for done in range(1, 11)]
    assert seen == [
        *[(t, 2) for t in (999, 799, 599, 399, 199, 0)],
        *[(t, 1) for t in (999, 799, 599, 399, 199, 0)],
    ]


@pytest.mark.parametrize("solver", ["ddpm", "ddim", "dpmsolver++"])
@pytest.mark.parametrize("every", [1, 4, 100])
def test_trajectory_goes_from_the_initial_noise_to_the_sample(solver, every):
    scheduler = build_scheduler(ScheduleSettings(), solver)
    seeds = [5, 6, 7]
    trajectory = record_trajectory(
        GaussianDenoiser(scheduler),
        scheduler,
        seeds,
        latent_dim=SIZE,
        num_inference_steps=10,
        every=every,
        device=CPU,
    )
    assert torch.equal(trajectory.states[0], initial_noise(seeds, SIZE)[0])
    assert torch.equal(trajectory.states[-1], sample(solver, seeds, 10, batch_size=3))
    assert len(trajectory.timesteps) == len(trajectory.states) == {1: 11, 4: 4, 100: 2}[every]
    assert trajectory.timesteps[-1] == 0
    assert trajectory.timesteps.diff().le(0).all()
