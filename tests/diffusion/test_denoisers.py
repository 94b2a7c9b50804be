"""The denoisers' sizes, shapes and use of the timestep."""

import pytest
import torch

from paramdiff.diffusion.conditioning import Conditions
from paramdiff.diffusion.denoisers.conv1d import Conv1dDenoiser
from paramdiff.diffusion.denoisers.mlp import MLPDenoiser

COUNTS = {  # of the authors' ``model/denoiser.py``: latent_dim to the denoiser's parameters
    128: 2_462_977,
    256: 2_545_153,
    512: 2_807_809,
    768: 3_201_537,
    1024: 3_726_337,
}


@pytest.mark.parametrize("latent_dim", COUNTS)
def test_parameter_count_is_the_papers(latent_dim):
    with torch.device("meta"):
        denoiser = Conv1dDenoiser(latent_dim=latent_dim)
    assert sum(p.numel() for p in denoiser.parameters()) == COUNTS[latent_dim]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Conv1dDenoiser, {"channels": (4, 6, 8, 6, 4)}),
        (Conv1dDenoiser, {"channels": (4, 6, 4), "kernel_size": 3}),
        (MLPDenoiser, {"width": 16, "depth": 2}),
    ],
    ids=["two skips", "one skip", "mlp"],
)
def test_shape_timestep_and_gradient(kind, options):
    denoiser = kind(latent_dim=12, **options).eval()
    assert not any("conditions" in name for name in denoiser.state_dict())
    latents = torch.randn(5, 12)
    early = denoiser(latents, torch.zeros(5, dtype=torch.long))
    late = denoiser(latents, torch.full((5,), 900))
    assert early.shape == (5, 12)
    assert not torch.allclose(early, late)
    late.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in denoiser.parameters())
    assert all(p.grad.abs().sum() > 0 for p in denoiser.parameters())


@pytest.mark.parametrize(
    ("kind", "options"),
    [(Conv1dDenoiser, {"channels": (4, 6, 4)}), (MLPDenoiser, {"width": 16, "depth": 2})],
)
def test_conditions_are_read_saved_and_loaded(kind, options, tmp_path):
    conditions = Conditions.fit({"score": [0.7, 0.8, 0.9], "run": ["a", "b", "a"]})
    denoiser = kind(latent_dim=12, conditions=conditions.to_json(), **options).eval()
    asked = torch.stack([conditions.encode({"score": 0.1 * row}) for row in range(5)])
    latents, timesteps = torch.randn(1, 12).expand(5, -1), torch.full((5,), 10)
    found = denoiser(latents, timesteps, asked)
    assert found.shape == (5, 12)
    assert not torch.allclose(found[0], found[1], atol=1e-4)
    found.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in denoiser.parameters())
    denoiser.save_pretrained(tmp_path / "denoiser")
    again = kind.from_pretrained(tmp_path / "denoiser")
    assert again.conditions == conditions
    assert torch.equal(again(latents, timesteps, asked), found)
