"""The forward process: the paper's formula, whatever the solver."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from paramdiff.diffusion.diffusion_settings import ScheduleSettings
from paramdiff.diffusion.schedule import build_scheduler

# diffusers' DPM-Solver calls numpy.array on a tensor, which numpy 2 deprecates for torch tensors
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SOLVERS = ["ddpm", "ddim", "dpmsolver++"]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("num_timesteps", "start", "end"), [(1000, 1e-4, 2e-2), (10, 1e-4, 2e-2), (200, 1e-3, 0.1)]
)
def test_alphas_cumprod_is_the_papers_formula(solver, num_timesteps, start, end):
    settings = ScheduleSettings(num_timesteps=num_timesteps, beta_start=start, beta_end=end)
    beta = np.linspace(start, end, num_timesteps, dtype=np.float64)
    found = build_scheduler(settings, solver).alphas_cumprod.numpy()
    np.testing.assert_allclose(found, np.cumprod(1 - beta), rtol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
def test_signal_to_noise_ratio_falls(solver):
    alphas_cumprod = build_scheduler(ScheduleSettings(), solver).alphas_cumprod.double()
    ratio = alphas_cumprod / (1 - alphas_cumprod)
    assert ratio.gt(0).all()
    assert ratio.diff().lt(0).all()


def test_last_timestep_keeps_four_in_a_hundred_thousand_of_the_signals_variance():
    alphas_cumprod = build_scheduler(ScheduleSettings()).alphas_cumprod
    assert len(alphas_cumprod) == 1000
    assert alphas_cumprod[999].item() == pytest.approx(4.0e-5, rel=0.02)
    assert alphas_cumprod[0].item() == pytest.approx(1 - 1e-4)


@pytest.mark.parametrize("solver", ["ddpm", "ddim"])
def test_noise_is_added_by_equation_2(solver):
    scheduler = build_scheduler(ScheduleSettings(), solver)
    x_0, eps, t = torch.randn(4, 8), torch.randn(4, 8), torch.tensor([0, 10, 500, 999])
    alpha_bar = scheduler.alphas_cumprod[t][:, None]
    expected = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps
    torch.testing.assert_close(scheduler.add_noise(x_0, eps, t), expected)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("num_inference_steps", [5, 50, 500])
def test_solvers_make_the_steps_asked_for_from_noise_down(solver, num_inference_steps):
    scheduler = build_scheduler(ScheduleSettings(), solver)
    scheduler.set_timesteps(num_inference_steps)
    assert len(scheduler.timesteps) == num_inference_steps
    if solver == "dpmsolver++":  # near the end several of its steps round to one timestep
        assert scheduler.timesteps.diff().le(0).all() and scheduler.sigmas.diff().lt(0).all()
    else:
        assert scheduler.timesteps.diff().lt(0).all()
    if solver != "ddpm":
        assert scheduler.timesteps[0] == 999


@pytest.mark.parametrize(
    "values", [{"num_timesteps": 1}, {"beta_start": 0.0}, {"beta_end": 1.0}, {"unknown": 3}]
)
def test_impossible_settings_are_refused(values):
    with pytest.raises(ValidationError, match=next(iter(values))):
        ScheduleSettings(**values)
