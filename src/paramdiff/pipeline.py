"""The pipeline: parameter space, codec, denoiser and scheduler; seeds in, state dicts out.

A diffusers pipeline: ``save_pretrained`` writes one folder per part and ``model_index.json``;
``from_pretrained`` and ``push_to_hub`` are diffusers' own, made strict by ``pipeline_io.py``.
That file also imports every class that a saved folder may name, which diffusers requires.
"""

import operator
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Optional

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor

from paramdiff.codecs.base import Codec, decode_all, decoding_batch
from paramdiff.component import Component, index_entry
from paramdiff.diffusion.conditioning import UNCONDITIONAL, Conditions
from paramdiff.diffusion.denoisers.base import Denoiser
from paramdiff.diffusion.diffusion_settings import Value
from paramdiff.diffusion.guidance import UNGUIDED, Guidance, LatentScore
from paramdiff.diffusion.sampling import (
    ReverseTrajectory,
    initial_noise,
    record_trajectory,
    sample_latents,
)
from paramdiff.energies import Energy
from paramdiff.errors import UserError, first_line
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline_io import OPTIONAL_PARTS, check_pipeline_folder, locate_pipeline
from paramdiff.progress import Progress, ignore_progress
from paramdiff.random import seeded_generator
from paramdiff.state_dicts import GeneratedParameters, decode_lazily


class ParameterDiffusionPipeline(DiffusionPipeline):
    """Turns seeds into network parameters (paper section 2; the authors' ``model/diffusion.py``).

    Args:
        parameter_space: state dict to vector and back.
        codec: vector to latent and back.
        denoiser: predicts the scheduler's target; None if latents are drawn from N(0, I).
        scheduler: a diffusers scheduler: the solver of the reverse process; None without a
            denoiser.
        statistics: the codec's normalization statistics when decoding.
        standardize: the denoiser works on standardized latents.
        num_inference_steps: denoiser evaluations per sample, unless the call says otherwise.
        temperature: scale of the latents about their mean, unless the call says otherwise.
        guidance_scale: classifier-free guidance, unless the call says otherwise.
        batch_size: samples per denoiser evaluation, unless the call says otherwise.
    """

    _optional_components: ClassVar = list(OPTIONAL_PARTS)

    def __init__(
        self,
        parameter_space: ParameterSpace,
        codec: Codec,
        # diffusers before 0.37 reads no annotation with a bar, and then loads nothing
        denoiser: Optional[Denoiser],  # noqa: UP045
        scheduler: Optional[SchedulerMixin],  # noqa: UP045
        statistics: str = "running",
        standardize: bool = True,
        num_inference_steps: int = 1000,
        temperature: float = 1.0,
        guidance_scale: float = 1.0,
        batch_size: int = 50,
    ) -> None:
        super().__init__()
        self.register_modules(
            parameter_space=parameter_space, codec=codec, denoiser=denoiser, scheduler=scheduler
        )
        self.register_to_config(
            statistics=statistics,
            standardize=standardize,
            num_inference_steps=num_inference_steps,
            temperature=temperature,
            guidance_scale=guidance_scale,
            batch_size=batch_size,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, Component):  # diffusers would name the file of its class
            self.register_to_config(**{name: index_entry(type(value))})

    @property
    def conditions(self) -> Conditions:
        """Conditions that networks can be generated for."""
        return UNCONDITIONAL if self.denoiser is None else self.denoiser.conditions

    def __call__(
        self,
        seeds: Iterable[int],
        *,
        num_inference_steps: int | None = None,
        temperature: float | None = None,
        condition: Mapping[str, Value] | None = None,
        guidance_scale: float | None = None,
        energy: Energy | None = None,
        energy_scale: float = 1.0,
        batch_size: int | None = None,
        progress: Progress = ignore_progress,
    ) -> GeneratedParameters:
        """Generate one network per seed.

        A seed gives the same noise in any batch; its parameters are equal bit for bit at the same
        place of an equally large batch (whatever else is in it) with equally many threads, and to
        about 1e-5 otherwise. With more seeds than ``batch_size`` the last batch is padded to it.

        Args:
            seeds: one per network.
            num_inference_steps: denoiser evaluations per sample.
            temperature: scale of the latents about the training latents' mean; 1 changes nothing.
            condition: value of each condition by name; others are left open.
            guidance_scale: classifier-free guidance: 0 ignores the condition, 1 samples what was
                learned of it, more exaggerates it.
            energy: a differentiable score of raw vectors that samples are pulled towards; it is
                evaluated at every step, on the networks that the step would lead to.
            energy_scale: weight of the energy: networks follow what was learned
                times ``exp(energy_scale * score)``, roughly. Below 0 low scores are sought.
            batch_size: samples per denoiser evaluation; with an energy, networks in memory
                together.
            progress: called with the solver steps done and all of them, over all batches.

        Returns:
            A sequence of complete state dicts, with the seeds. Networks are decoded when they are
            accessed, in batches that take little memory; a ``UserError`` then names the seed of
            one whose parameters are not finite.

        Raises:
            UserError: there is no seed, or something else for one; ``num_inference_steps`` or an
                energy is given without a denoiser; the condition is not one of
                ``conditions``, or there is a scale without it; or the energy's scores have
                another shape, no gradient, or are not finite.
        """
        seeds = _whole_numbers(seeds)
        scale = self.config.temperature if temperature is None else temperature
        guidance = self._guidance(condition, guidance_scale)
        if energy is not None:
            guidance = replace(
                guidance,
                score=self.latent_score(energy, scale),
                score_scale=energy_scale,
                variance=1.0 if self.config.standardize else self.codec.latent_std**2,
            )
        if self.denoiser is None:
            self._refuse_without_denoiser("num_inference_steps", num_inference_steps)
            self._refuse_without_denoiser("energy", energy)
            latents, _ = initial_noise(seeds, self.codec.latent_dim)
        else:
            latents = sample_latents(
                self.denoiser.eval(),
                self.scheduler,
                seeds,
                latent_dim=self.codec.latent_dim,
                num_inference_steps=self.config.num_inference_steps
                if num_inference_steps is None
                else num_inference_steps,
                batch_size=min(batch_size or self.config.batch_size, len(seeds)),
                device=self.device,
                guidance=guidance,
                progress=progress,
            )
        return GeneratedParameters(
            seeds,
            self.parameter_space,
            decode_lazily(
                lambda rows: self.decode(latents[rows], seeds[rows], scale),
                seeds,
                decoding_batch(self.codec.length),
                self.codec.length,
            ),
        )

    def decode(self, latents: Tensor, seeds: Sequence[int], temperature: float = 1.0) -> Tensor:
        """Decode the denoiser's latents to raw parameter vectors.

        Args:
            latents: ``[M, D]`` in the denoiser's coordinates.
            seeds: one per latent, of the noise that stands for what the codec leaves out.
            temperature: scale about the training latents' mean, and of that noise.

        Returns:
            Raw vectors ``[M, P]`` on the CPU.
        """
        codec, latents = self.codec.eval(), latents.to(self.device)
        normalized = decode_all(codec, self._scaled(latents, temperature), self.config.statistics)
        if codec.residual_std is not None:
            noise = self._residual_noise(seeds)
            normalized = normalized + temperature * codec.residual_std * noise
        return self.parameter_space.denormalize(normalized).cpu()

    def latent_score(self, energy: Energy, temperature: float) -> LatentScore:
        """Return an energy as a function of latents, with a gradient.

        Args:
            energy: a score of raw vectors.
            temperature: see ``decode``.

        Returns:
            A function from latents ``[B, D]`` in the denoiser's coordinates, and their seeds, to
            scores ``[B]``.
        """
        codec = self.codec.eval()
        noise_of = lru_cache(maxsize=1)(self._residual_noise)  # the same at every step

        def score(latents: Tensor, seeds: Sequence[int]) -> Tensor:
            normalized = codec.decode(self._scaled(latents, temperature), self.config.statistics)
            if codec.residual_std is not None:
                noise = noise_of(tuple(seeds))
                normalized = normalized + temperature * codec.residual_std * noise
            return energy(self.parameter_space.denormalize(normalized))

        return score

    def _scaled(self, latents: Tensor, temperature: float) -> Tensor:
        """Latents ``[M, D]`` in the denoiser's coordinates to the codec's, scaled there."""
        if self.config.standardize:
            latents = self.codec.destandardize(latents)
        if temperature != 1.0:
            mean = self.codec.latent_mean
            latents = mean + temperature * (latents - mean)
        return latents

    def _residual_noise(self, seeds: Sequence[int]) -> Tensor:
        """Draw noise ``[M, length]`` in place of what the codec leaves out, before scaling."""
        draws = [seeded_generator(seed, "residual") for seed in seeds]
        noise = [torch.randn(self.codec.length, generator=draw) for draw in draws]
        return torch.stack(noise).to(self.device)

    def _guidance(
        self, condition: Mapping[str, Value] | None, guidance_scale: float | None
    ) -> Guidance:
        """Return the guidance; warn if the condition lies outside of the zoo's range."""
        if not condition:
            if guidance_scale is not None:
                raise UserError(
                    f"guidance_scale: {guidance_scale:g} has no effect without a condition"
                )
            return UNGUIDED
        encoded = self.conditions.encode(condition)
        for line in self.conditions.extrapolated(condition):
            warnings.warn(line, stacklevel=3)
        scale = self.config.guidance_scale if guidance_scale is None else guidance_scale
        return Guidance(encoded, scale)

    def trajectory(
        self,
        seeds: Sequence[int],
        *,
        num_inference_steps: int,
        every: int,
        condition: Mapping[str, Value] | None = None,
    ) -> ReverseTrajectory:
        """Record the reverse process (paper Figure 5b).

        Args:
            seeds: one per sample.
            num_inference_steps: denoiser evaluations per sample.
            every: keep one state in so many.
            condition: see ``__call__``.

        Returns:
            Timesteps ``[S]`` and raw parameter vectors ``[S, M, P]``, pure noise first.

        Raises:
            UserError: the pipeline has no denoiser, or the condition is not one of ``conditions``.
        """
        self._refuse_without_denoiser("num_inference_steps", num_inference_steps)
        seeds = _whole_numbers(seeds)
        recorded = record_trajectory(
            self.denoiser.eval(),
            self.scheduler,
            seeds,
            latent_dim=self.codec.latent_dim,
            num_inference_steps=num_inference_steps,
            every=every,
            device=self.device,
            guidance=self._guidance(condition, None),
        )
        temperature = self.config.temperature
        vectors = torch.stack(
            [self.decode(state, seeds, temperature) for state in recorded.states]
        )
        return ReverseTrajectory(recorded.timesteps, vectors)

    def _refuse_without_denoiser(self, option: str, value: object) -> None:
        if self.denoiser is None and value is not None:
            raise UserError(
                f"{option}: {value} has no effect, because this pipeline draws latents from "
                "N(0, I) without a denoiser"
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
        except (
            ValueError,
            OSError,
            RuntimeError,
            LookupError,
            AttributeError,
            TypeError,
        ) as error:
            raise UserError(
                f"{path}: cannot be loaded as a pipeline: {first_line(error)}"
            ) from None


def _whole_numbers(seeds: Iterable[int]) -> list[int]:
    """Return the seeds as a list; raise a ``UserError`` if there is none, or something else."""
    try:
        found = [operator.index(seed) for seed in seeds]
    except TypeError:
        raise UserError(
            f"seeds: {seeds!r:.80} are not whole numbers, one per network (range(4) for four)"
        ) from None
    if not found:
        raise UserError("seeds: there is none; give one per network")
    return found
