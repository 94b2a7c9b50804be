"""The pipeline: parameter space, codec, denoiser and scheduler; seeds in, state dicts out.

A diffusers pipeline: ``save_pretrained`` writes one folder per part and ``model_index.json``;
``from_pretrained`` and ``push_to_hub`` are diffusers' own, made strict by ``pipeline_folder.py``.
That file also imports every class that a saved folder may name, which diffusers requires.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from pydantic import Field
from torch import Tensor

from paramdiff.codec.codec import Codec
from paramdiff.codec.training import decode_all, decoding_batch
from paramdiff.component import Component, first_line
from paramdiff.diffusion.sampling import (
    Trajectory,
    initial_noise,
    record_trajectory,
    sample_latents,
)
from paramdiff.diffusion.schedule import SolverName
from paramdiff.engine import seeded_generator
from paramdiff.errors import UserError
from paramdiff.generated import GeneratedParameters, decoded_when_asked
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline_folder import OPTIONAL_PARTS, check_pipeline_folder, locate_pipeline
from paramdiff.settings import Settings


class GenerationSettings(Settings):
    """How networks are generated."""

    num_samples: int = Field(200, gt=0, description="networks to generate per generator seed")
    seed: int = Field(0, ge=0, description="seed of the first sample; the others count up from it")
    solver: SolverName = Field("ddpm", description="ancestral DDPM, DDIM or DPM-Solver++")
    num_steps: int = Field(gt=0, description="denoiser evaluations per sample")
    spread: float = Field(
        1.0, ge=0, description="scales latents about the training latents' mean; below 1 contracts"
    )
    batch_size: int = Field(50, gt=0, description="samples per denoiser evaluation")


class ParameterDiffusionPipeline(DiffusionPipeline):
    """Turns seeds into network parameters (paper section 2; method.md 2.7).

    Args:
        parameter_space: state dict to vector and back.
        codec: vector to latent and back.
        denoiser: predicts the noise in a latent; none where latents are drawn from N(0, I).
        scheduler: a diffusers scheduler: the solver of the reverse process; none beside no
            denoiser.
        statistics: the codec's normalisation statistics when decoding.
        standardise: whether the denoiser works on standardised latents.
        num_steps: denoiser evaluations per sample, unless the call says otherwise.
        spread: scale of the latents about their mean, unless the call says otherwise.
        batch_size: samples per denoiser evaluation, unless the call says otherwise.
    """

    _optional_components: ClassVar = list(OPTIONAL_PARTS)

    def __init__(
        self,
        parameter_space: ParameterSpace,
        codec: Codec,
        denoiser: Component | None,
        scheduler: SchedulerMixin | None,
        statistics: str = "running",
        standardise: bool = True,
        num_steps: int = 1000,
        spread: float = 1.0,
        batch_size: int = 50,
    ) -> None:
        super().__init__()
        self.register_modules(
            parameter_space=parameter_space, codec=codec, denoiser=denoiser, scheduler=scheduler
        )
        self.register_to_config(
            statistics=statistics,
            standardise=standardise,
            num_steps=num_steps,
            spread=spread,
            batch_size=batch_size,
        )

    def __call__(
        self,
        seeds: Iterable[int],
        *,
        num_steps: int | None = None,
        spread: float | None = None,
        batch_size: int | None = None,
        progress: Callable[[], None] | None = None,
    ) -> GeneratedParameters:
        """Generate one network per seed.

        A seed gives the same noise in any batch; its parameters are equal bit for bit at the same
        place of an equally large batch (whatever else is in it) with equally many threads, and to
        about 1e-5 otherwise. With more seeds than ``batch_size`` the last batch is padded to it.

        Args:
            seeds: one per network.
            num_steps: denoiser evaluations per sample.
            spread: scale of the latents about the training latents' mean; 1 leaves them alone.
            batch_size: samples per denoiser evaluation.
            progress: called after every denoiser evaluation.

        Returns:
            A sequence of complete state dicts, with the seeds. Networks are decoded when they are
            asked for, in batches that take little memory; a ``UserError`` then names the seed of
            one whose parameters are not finite.

        Raises:
            UserError: there is no seed, or ``num_steps`` is given where there is no denoiser.
        """
        seeds = [int(seed) for seed in seeds]
        if not seeds:
            raise UserError("seeds: expected at least one, found none")
        if self.denoiser is None:
            self._refuse_steps_without_denoiser(num_steps)
            latents, _ = initial_noise(seeds, self.codec.latent_dim)
        else:
            latents = sample_latents(
                self.denoiser.eval(),
                self.scheduler,
                seeds,
                latent_dim=self.codec.latent_dim,
                num_steps=self.config.num_steps if num_steps is None else num_steps,
                batch_size=min(batch_size or self.config.batch_size, len(seeds)),
                device=self.device,
                progress=progress,
            )
        scale = self.config.spread if spread is None else spread
        return GeneratedParameters(
            seeds,
            self.parameter_space,
            decoded_when_asked(
                lambda rows: self.decode(latents[rows], seeds[rows], scale),
                seeds,
                decoding_batch(self.codec.length),
                self.codec.length,
            ),
        )

    def decode(self, latents: Tensor, seeds: Sequence[int], spread: float = 1.0) -> Tensor:
        """What the denoiser produced to raw parameter vectors.

        Args:
            latents: ``[M, D]`` in the denoiser's coordinates.
            seeds: one per latent, of the noise that stands for what the codec leaves out.
            spread: scale about the training latents' mean, and of that noise.

        Returns:
            Raw vectors ``[M, P]`` on the CPU.
        """
        codec, latents = self.codec.eval(), latents.to(self.device)
        if self.config.standardise:
            latents = codec.destandardise(latents)
        if spread != 1.0:
            latents = codec.latent_mean + spread * (latents - codec.latent_mean)
        normalised = decode_all(codec, latents, self.config.statistics)
        if codec.residual_std is not None:
            draws = [seeded_generator(seed, "residual") for seed in seeds]
            noise = torch.stack([torch.randn(codec.length, generator=g) for g in draws])
            normalised = normalised + spread * codec.residual_std * noise.to(normalised)
        return self.parameter_space.denormalise(normalised).cpu()

    def trajectory(self, seeds: Sequence[int], *, num_steps: int, every: int) -> Trajectory:
        """Record the reverse process (paper Figure 5b).

        Args:
            seeds: one per sample.
            num_steps: denoiser evaluations per sample.
            every: keep one state in so many.

        Returns:
            Timesteps ``[S]`` and raw parameter vectors ``[S, M, P]``, pure noise first.

        Raises:
            UserError: the pipeline has no denoiser.
        """
        self._refuse_steps_without_denoiser(num_steps)
        recorded = record_trajectory(
            self.denoiser.eval(),
            self.scheduler,
            seeds,
            latent_dim=self.codec.latent_dim,
            num_steps=num_steps,
            every=every,
            device=self.device,
        )
        vectors = torch.stack([self.decode(state, seeds) for state in recorded.states])
        return Trajectory(recorded.timesteps, vectors)

    def _refuse_steps_without_denoiser(self, num_steps: int | None) -> None:
        if self.denoiser is None and num_steps is not None:
            raise UserError(
                "num_steps: this pipeline draws latents from N(0, I) without a denoiser; "
                f"expected no number of steps, found {num_steps}"
            )

    @classmethod
    def from_pretrained(cls, folder: Any, **kwargs: Any) -> "ParameterDiffusionPipeline":
        """Load a pipeline from a folder or, by ``owner/name``, from the Hugging Face Hub.

        Args:
            folder: what ``save_pretrained`` wrote.
            **kwargs: ``revision`` and ``token`` for the Hub; the rest is handed on to diffusers.

        Returns:
            The pipeline, all parts in evaluation mode.

        Raises:
            UserError: the folder is missing, incomplete or holds something foreign.
        """
        wanted = {key: kwargs.pop(key) for key in ("revision", "token") if key in kwargs}
        path = locate_pipeline(folder, **wanted)
        check_pipeline_folder(path)
        kwargs = {"local_files_only": True, "use_safetensors": True, **kwargs}
        try:
            return super().from_pretrained(path, **kwargs)
        except UserError:
            raise
        except (ValueError, OSError, RuntimeError, AttributeError, TypeError) as error:
            raise UserError(
                f"{path}: cannot be loaded as a pipeline: {first_line(error)}"
            ) from None
