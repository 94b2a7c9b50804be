"""The same work, done by our code and by the authors', so that both can be timed alike.

Ours runs through ``fit_codec``, ``train_denoiser`` and the pipeline, with all that surrounds an
update there. The authors' modules are imported from the user's checkout (``benchmarks.sides``) and
called as their scripts call them: the noise drawn on the vector, the loss with its KL term times
0, AdamW, a cosine schedule, encoding by batch statistics before each update of the denoiser,
generation of one network at a time. Their data loader, which reads every checkpoint again from
disk, is left out: both sides draw rows of one array in memory.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmarks.sides import INPUT_NOISE, LATENT_NOISE, Reference, TheirCodec, TheirDenoiser
from paramdiff.codecs.base import Codec, encode_all
from paramdiff.codecs.codec_settings import AutoencoderCodecSettings
from paramdiff.codecs.registry import CODECS, fit_codec
from paramdiff.diffusion.denoisers.base import Denoiser
from paramdiff.diffusion.diffusion_settings import SolverName
from paramdiff.diffusion.schedule import build_scheduler
from paramdiff.diffusion.training import build_denoiser, train_denoiser
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.recipe.schema import Recipe, load_recipe
from paramdiff.training_settings import Optimization

NUM_CHECKPOINTS = 300
SHORT_CHAIN = 4
"""Denoiser evaluations by which those of a whole chain are told; divides 1,000."""


@dataclass(frozen=True)
class Size:
    """A number of generated parameters.

    Attributes:
        num_parameters: ``P``.
        latent_dim: of the paper's autoencoder at this size.
        recipe: the published recipe whose settings and numbers of updates apply.
    """

    num_parameters: int
    latent_dim: int
    recipe: str

    def settings(self, preset: str, precision: str) -> Recipe:
        """The recipe under a preset, its forward passes in a precision."""
        if preset != "paper":
            return load_recipe(self.recipe, [f"preset={preset}"])
        changes = [f"codec.latent_dim={self.latent_dim}"]
        changes += [f"{part}.training.precision={precision}" for part in ("codec", "diffusion")]
        return load_recipe(self.recipe, changes)


@dataclass(frozen=True)
class Clock:
    """Seconds that count: of this process's own computing where that is all there is.

    On a CPU with one thread, time that other programs take from this one is left out.
    """

    device: torch.device
    num_threads: int

    def now(self) -> float:
        """Seconds since some moment, once all that was started is done."""
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()
        is_alone = self.device.type == "cpu" and self.num_threads == 1
        return time.process_time() if is_alone else time.perf_counter()


@dataclass(frozen=True)
class GenerationTimes:
    """What generating a batch takes: each denoiser evaluation, and everything else together."""

    batch_size: int
    evaluation: float
    rest: float


class Work(ABC):
    """One side's work on one zoo.

    Args:
        vectors: normalized vectors ``[N, length]``.
        recipe: settings and numbers of updates.
        clock: what time is.
    """

    def __init__(self, vectors: Tensor, recipe: Recipe, clock: Clock) -> None:
        self.vectors, self.recipe, self.clock = vectors, recipe, clock
        self.device = clock.device

    @abstractmethod
    def train_codec(self, count: int) -> list[float]:
        """Seconds of ``count`` updates of the codec, after a first one that does not count."""

    @abstractmethod
    def train_denoiser(self, count: int) -> list[float]:
        """Seconds of ``count`` updates of the denoiser, after one that does not count."""

    @abstractmethod
    def generate(self) -> GenerationTimes:
        """Generate one batch by a short chain."""

    def rows(self, size: int, generator: torch.Generator | None = None) -> Tensor:
        """A batch of vectors ``[size, length]``, drawn with replacement."""
        return self.vectors[torch.randint(len(self.vectors), (size,), generator=generator)]


class OurWork(Work):
    """This project's, under the recipe's preset.

    Args:
        vectors: see ``Work``.
        recipe: see ``Work``.
        clock: see ``Work``.
        space: what the vectors are normalized by.
    """

    def __init__(
        self, vectors: Tensor, recipe: Recipe, clock: Clock, space: ParameterSpace
    ) -> None:
        super().__init__(vectors, recipe, clock)
        assert recipe.diffusion is not None
        self.diffusion, self.space = recipe.diffusion, space

    @cached_property
    def codec(self) -> Codec:
        """Untrained, or the linear one, which is fitted."""
        settings = self.recipe.codec
        untrained = CODECS[settings.kind].build(settings, self.vectors.shape[1])
        if untrained is None:
            self.train_codec(1)
            return self.codec
        return untrained

    @cached_property
    def denoiser(self) -> Denoiser:
        """Untrained."""
        return build_denoiser(self.diffusion, self.codec.latent_dim)

    def train_codec(self, count: int) -> list[float]:
        """See ``Work``; the linear codec's single fit counts as one update."""
        settings, stamps = self.recipe.codec, [self.clock.now()]
        training = settings.shared_training
        if training is not None:
            settings = settings.model_copy(update={"training": lasting(training, count)})
        self.codec, _ = fit_codec(
            self.vectors,
            settings,
            seed=0,
            device=self.device,
            progress=lambda done, total: stamps.append(self.clock.now()),
        )
        if training is None:
            self.codec.fit_latent_moments(encode_all(self.codec, self.vectors))
            return [self.clock.now() - stamps[0]]
        return between(stamps[1:])

    def train_denoiser(self, count: int) -> list[float]:
        """See ``Work``."""
        settings = self.diffusion.model_copy(
            update={"training": lasting(self.diffusion.training, count)}
        )
        stamps: list[float] = []
        codec = self.codec.eval().to(self.device)
        statistics = settings.latent_statistics

        @torch.no_grad()
        def batch(size: int, generator: torch.Generator) -> Tensor:
            latents = codec.encode(self.rows(size, generator).to(self.device), statistics)
            return codec.standardize(latents) if settings.standardize else latents

        self.denoiser, _ = train_denoiser(
            batch,
            codec.latent_dim,
            settings,
            seed=0,
            device=self.device,
            progress=lambda done, total: stamps.append(self.clock.now()),
        )
        return between(stamps)

    def generate(self) -> GenerationTimes:
        """See ``Work``; the networks of a batch are generated together."""
        size = self.recipe.generation.batch_size
        pipeline = self.pipeline(self.recipe.generation.solver)
        stamps = [self.clock.now()]
        pipeline(
            range(size),
            num_inference_steps=SHORT_CHAIN,
            batch_size=size,
            progress=lambda done, total: stamps.append(self.clock.now()),
        )
        return _split(size, stamps, self.clock.now())

    def pipeline(self, solver: SolverName) -> ParameterDiffusionPipeline:
        """What generates, from the parts as they are now."""
        return ParameterDiffusionPipeline(
            self.space,
            self.codec.eval(),
            self.denoiser.eval(),
            build_scheduler(self.diffusion.schedule, solver),
            statistics=self.recipe.codec.decoding_statistics,
            standardize=self.diffusion.standardize,
        ).to(self.device)


class TheirWork(Work):
    """The authors', from a checkout.

    Args:
        vectors: see ``Work``.
        recipe: see ``Work``; of the ``paper`` preset.
        clock: see ``Work``.
        reference: their modules.
    """

    def __init__(
        self, vectors: Tensor, recipe: Recipe, clock: Clock, reference: Reference
    ) -> None:
        super().__init__(vectors, recipe, clock)
        assert isinstance(recipe.codec, AutoencoderCodecSettings) and recipe.diffusion is not None
        self.latent_dim = recipe.codec.latent_dim
        self.autocast = recipe.codec.training.precision == "bfloat16"
        codec = TheirCodec(reference, vectors.shape[1], self.latent_dim)
        self.codec = codec.module.train().to(self.device)
        self.denoiser = TheirDenoiser(reference, self.latent_dim).whole.to(self.device)

    @property
    def num_steps(self) -> int:
        """Of the only chain that they sample."""
        return self.denoiser.diffusion_sampler.T

    def in_precision(self) -> torch.autocast:
        """Their forward passes run in bfloat16 where the recipe says so."""
        return torch.autocast(self.device.type, torch.bfloat16, self.autocast)

    def train_codec(self, count: int) -> list[float]:
        """See ``Work``."""
        training = self.recipe.codec.training

        def loss() -> Tensor:
            batch = self.rows(training.batch_size).to(self.device)
            batch += torch.randn_like(batch) * INPUT_NOISE
            return self.codec(x=batch, use_var=True, manual_std=LATENT_NOISE, kld_weight=0.0)

        return self._updates(self.codec, loss, training, count)

    def train_denoiser(self, count: int) -> list[float]:
        """See ``Work``."""
        training = self.recipe.diffusion.training

        def loss() -> Tensor:
            batch = self.rows(training.batch_size).to(self.device)
            with torch.no_grad():
                latents, _ = self.codec.encode(batch)
            return self.denoiser(x=latents)

        return self._updates(self.denoiser.train(), loss, training, count)

    def _updates(
        self, module: nn.Module, loss: Callable[[], Tensor], training: Optimization, count: int
    ) -> list[float]:
        optimizer = torch.optim.AdamW(
            module.parameters(), lr=training.lr, weight_decay=training.weight_decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=training.num_steps)
        stamps = []
        for _ in range(count + 1):
            optimizer.zero_grad()
            with self.in_precision():
                value = loss()
            value.backward()
            optimizer.step()
            schedule.step()
            value.item()
            stamps.append(self.clock.now())
        return between(stamps)

    @torch.no_grad()
    def generate(self) -> GenerationTimes:
        """See ``Work``; they generate one network at a time."""
        sampler = self.denoiser.eval().diffusion_sampler
        stamps = [self.clock.now()]
        with self.in_precision():
            x = torch.randn(1, self.latent_dim, device=self.device)
            for timestep in reversed(range(sampler.T - SHORT_CHAIN, sampler.T)):
                x = sampler.sample_one_step(x, timestep, 0.0)
                stamps.append(self.clock.now())
            self.codec.decode(x)
        return _split(1, stamps, self.clock.now())

    @torch.no_grad()
    def vectors_of(self, num_networks: int) -> Tensor:
        """Normalized vectors ``[num_networks, length]``, generated one at a time in all steps."""
        self.denoiser.eval()
        made = []
        with self.in_precision():
            for _ in range(num_networks):
                noise = torch.randn(1, self.latent_dim, device=self.device)
                made.append(self.codec.decode(self.denoiser.sample(noise)).float().cpu())
        return torch.cat(made)


def make_zoo(size: Size) -> tuple[Tensor, ParameterSpace]:
    """A trajectory: one vector of random values, a random walk about it and a little jitter.

    Args:
        size: how many parameters.

    Returns:
        Normalized vectors ``[300, length]`` and what they are normalized by.
    """
    generator = torch.Generator().manual_seed(size.num_parameters)
    shape = NUM_CHECKPOINTS, size.num_parameters
    walk = 0.02 * torch.randn(shape, generator=generator).cumsum(0)
    jitter = 0.05 * torch.randn(shape, generator=generator)
    raw = torch.randn(size.num_parameters, generator=generator) + walk + jitter
    base = {"weight": raw[0]}
    space = ParameterSpace.fit(raw, ParameterLayout.of(base, ["weight"]), base)
    return space.normalize(raw), space


def lasting(training: Optimization, count: int) -> Optimization:
    """The settings with ``count + 1`` updates, the last one after the schedule's end."""
    return training.model_copy(update={"num_steps": count, "extra_updates": 1})


def between(stamps: list[float]) -> list[float]:
    """The times between successive moments."""
    return [after - before for before, after in pairwise(stamps)]


def _split(size: int, stamps: list[float], end: float) -> GenerationTimes:
    """A start, the moment after each evaluation, and the end; the first evaluation warms up."""
    evaluation = sorted(between(stamps[1:]))[(len(stamps) - 2) // 2]
    return GenerationTimes(size, evaluation, max(0.0, end - stamps[-1]))
