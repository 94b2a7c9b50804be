"""Settings of the generation of networks."""

from pydantic import Field

from paramdiff.diffusion.diffusion_settings import SolverName, Value
from paramdiff.settings import Seed, Settings


class GenerationSettings(Settings):
    """Settings of generation."""

    num_samples: int = Field(200, gt=0, description="networks to generate per generator seed")
    seed: Seed = Field(0, description="seed of the first sample; the others count up from it")
    solver: SolverName = Field("ddpm", description="ancestral DDPM, DDIM or DPM-Solver++")
    num_inference_steps: int = Field(gt=0, description="denoiser evaluations per sample")
    temperature: float = Field(
        1.0, ge=0, description="scales latents about the training latents' mean; below 1 contracts"
    )
    condition: dict[str, Value] = Field(
        {}, description="condition to generate for: names of diffusion.conditions to values"
    )
    guidance_scale: float = Field(
        1.0,
        ge=0,
        description="classifier-free guidance: 0 ignores a condition, above 1 exaggerates it",
    )
    batch_size: int = Field(50, gt=0, description="samples per denoiser evaluation")
