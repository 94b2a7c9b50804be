"""A small pipeline of real parts with random weights."""

import torch
from torch import nn

from paramdiff.codecs.autoencoder import AutoencoderCodec
from paramdiff.codecs.pca import fit_pca_codec
from paramdiff.diffusion.conditioning import UNCONDITIONAL
from paramdiff.diffusion.denoisers.conv1d import Conv1dDenoiser
from paramdiff.diffusion.denoisers.mlp import MLPDenoiser
from paramdiff.diffusion.diffusion_settings import ScheduleSettings
from paramdiff.diffusion.schedule import build_scheduler
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline import ParameterDiffusionPipeline

STEPS, BATCH = 10, 4
WEIGHTS = "diffusion_pytorch_model.safetensors"


def small_network():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 5)
    )


def build(codec="pca", denoiser="mlp", solver="ddpm", conditions=UNCONDITIONAL):
    """Real parts with random weights around a zoo of 12 random networks."""
    torch.manual_seed(0)
    base = small_network().state_dict()
    names = select(base, ["1.*", "4.weight"])
    layout = ParameterLayout.of(base, names)
    center = layout.flatten(base)
    zoo = center + 0.1 * torch.randn(12, layout.num_parameters)
    zoo[:, layout.slots[3].start : layout.slots[3].stop].abs_()  # variances are positive
    space = ParameterSpace.fit(zoo, layout, base)
    vectors = space.normalize(zoo)
    if codec == "pca":
        coder = fit_pca_codec(vectors, 0.99)
    else:
        coder = AutoencoderCodec(space.padded_length, 32, (4, 4, 4, 4, 4)).eval()
    coder.fit_latent_moments(coder.encode(vectors).detach())
    if denoiser == "mlp":
        predictor = MLPDenoiser(coder.latent_dim, 32, 1, conditions.to_json()).eval()
    else:
        predictor = Conv1dDenoiser(
            coder.latent_dim, (4, 8, 4), conditions=conditions.to_json()
        ).eval()
    return ParameterDiffusionPipeline(
        space,
        coder,
        predictor,
        # an untrained denoiser removes no noise; a short schedule keeps its samples in bounds
        build_scheduler(ScheduleSettings(beta_end=2e-3), solver),
        statistics="running" if codec == "pca" else "sample",
        standardize=codec == "pca",
        num_inference_steps=STEPS,
        batch_size=BATCH,
    )


KINDS = [("pca", "mlp"), ("autoencoder", "conv1d"), ("pca", "conv1d")]
