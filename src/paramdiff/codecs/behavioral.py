"""Principal components with a learned correction of their decoder, trained by behavior.

Latents are coordinates along the zoo's principal components, each scaled to unit variance, so that
N(0, I) is the Gaussian of the zoo. Samples from it are usually worse than the originals, because
linear interpolation leaves the region of low loss. The correction moves a decoded network by the
gradient of its own predictions on task data; encoding stays linear.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.codecs.base import Codec, Examples
from paramdiff.codecs.codec_settings import BehavioralCodecSettings, Statistics
from paramdiff.codecs.pca import PCACodec, fit_pca_codec
from paramdiff.errors import UserError
from paramdiff.progress import Progress, ignore_progress
from paramdiff.random import seeded_generator
from paramdiff.training_loop import TrainingResult, train

SHARPNESS = 5.0
"""Factor on the logits in ``soft_error``. At 1 the similarity follows the networks' confidence
rather than their errors: it stood at the originals' level while the errors themselves had a
similarity of 0.77 beside 0.65."""
NUM_SOURCES = 16
"""Originals whose mean similarity is the limit and, without labels, whose mean prediction is the
target. Each further one costs a pass over all examples."""
RATE = 0.1
"""Step size of the Lagrange multiplier per unit of excess similarity."""
MOST = 10.0
"""Largest value of the multiplier, reached if the limit on similarity cannot be met."""
BATCH = 500
"""Examples per forward pass of the originals."""


class BehavioralCodec(Codec):
    """Whitened principal components with a multilayer perceptron beside their decoder.

    Args:
        length: the padded vector's length.
        latent_dim: the number of components.
        width: width of the perceptron's two hidden layers.
    """

    settings_class = BehavioralCodecSettings
    residual_std: Tensor

    @register_to_config
    def __init__(self, length: int, latent_dim: int, width: int) -> None:
        super().__init__()
        self.length, self.latent_dim = length, latent_dim
        self.register_buffer("mean", torch.zeros(length))
        self.register_buffer("components", torch.zeros(latent_dim, length))
        self.register_buffer("residual_std", torch.zeros(length))
        self._register_latent_moments(latent_dim)
        self.correction = nn.Sequential(
            nn.Linear(latent_dim, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, length),
        )

    @classmethod
    def fit(
        cls,
        vectors: Tensor,
        settings: BehavioralCodecSettings,
        *,
        seed: int,
        device: torch.device,
        examples: Examples | None = None,
        state_file: Path | None = None,
        progress: Progress = ignore_progress,
    ) -> tuple[Codec, TrainingResult]:
        """See ``Codec``; fit the components, then train the correction on ``examples``.

        Raises a ``UserError`` if there are fewer than two checkpoints, or training diverges.
        """
        assert examples is not None
        if len(vectors) < 2:
            raise UserError(
                f"codec: a correction needs at least 2 checkpoints to draw between, found "
                f"{len(vectors)}"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            codec = fit_behavioral_codec(
                vectors,
                settings.explained_variance,
                residual=settings.residual,
                width=settings.width,
            )
        behavior = settings.behavior
        sources = torch.randperm(len(vectors), generator=seeded_generator(seed, "sources"))
        teacher = TeacherTargets.of(
            vectors[sources[:NUM_SOURCES]].to(device), examples, behavior.target
        )
        held: dict[str, Any] = {"multiplier": 1.0}

        def batch_loss(module: Any, step: int, generator: torch.Generator) -> Tensor:
            drawn = draw(module, behavior.num_networks, generator)
            rows = torch.randint(
                len(examples.labels), (behavior.training.batch_size,), generator=generator
            )
            logits = torch.stack([examples.logits(vector, rows) for vector in drawn])
            targets = teacher.targets[rows].to(device)
            loss = F.cross_entropy(logits.flatten(0, 1), torch.cat([targets] * len(drawn)))
            excess = (
                smooth_similarity(soft_error(logits, targets))
                - smooth_similarity(teacher.errors[:, rows]).to(logits)
                - behavior.similarity_margin
            )
            held["multiplier"] = min(MOST, max(0.0, held["multiplier"] + RATE * excess.item()))
            return loss + held["multiplier"] * excess

        codec.train()
        result = train(
            codec,
            batch_loss,
            behavior.training,
            seed=seed,
            device=device,
            state_file=state_file,
            progress=progress,
            recorded=held,
        )
        return codec, result

    @classmethod
    def around(cls, linear: PCACodec, vectors: Tensor, width: int) -> "BehavioralCodec":
        """Build a codec whose correction is still zero.

        Args:
            linear: the principal components.
            vectors: the normalized vectors ``[N, length]`` that they were fitted to.
            width: width of the correction's hidden layers; their weights come from torch's global
                generator.

        Returns:
            The codec; its components are scaled to the latents' standard deviations.
        """
        codec = cls(length=linear.length, latent_dim=linear.latent_dim, width=width)
        scale = linear.encode(vectors).std(0)
        codec.mean.copy_(linear.mean)
        codec.components.copy_(linear.components * scale[:, None])
        codec.residual_std.copy_(linear.residual_std)
        last = codec.correction[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return codec

    def encode(self, vectors: Tensor, statistics: Statistics = "running") -> Tensor:
        """Project normalized vectors ``[B, length]`` to coordinates ``[B, latent_dim]``."""
        along = (vectors - self.mean) @ self.components.T
        return along / self.components.square().sum(1)

    def decode(self, latents: Tensor, statistics: Statistics = "running") -> Tensor:
        """Map coordinates ``[B, latent_dim]`` to corrected normalized vectors ``[B, length]``."""
        return latents @ self.components + self.mean + self.correction(latents)


def fit_behavioral_codec(
    vectors: Tensor, explained_variance: float, *, residual: bool, width: int
) -> BehavioralCodec:
    """Fit the components with a correction that is still zero; see ``fit_pca_codec``.

    Args:
        vectors: normalized vectors ``[N, length]``, at least two.
        explained_variance: the share of the zoo's variance to keep, in (0, 1].
        residual: model the rest as independent noise.
        width: width of the correction's hidden layers.

    Returns:
        The codec.
    """
    linear = fit_pca_codec(vectors, explained_variance, residual=residual)
    return BehavioralCodec.around(linear, vectors, width)


@dataclass(frozen=True)
class TeacherTargets:
    """Training targets, and the errors of some originals as the limit on similarity.

    Attributes:
        targets: labels ``[E]``, or probabilities ``[E, K]``.
        errors: soft errors of ``S`` originals, ``[S, E]``.
    """

    targets: Tensor
    errors: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, vectors: Tensor, examples: Examples, target: str) -> "TeacherTargets":
        """Run originals ``[S, length]`` on all examples, a block at a time."""
        targets, errors = [], []
        for rows in torch.arange(len(examples.labels)).split(BATCH):
            logits = torch.stack([examples.logits(one, rows).cpu() for one in vectors])
            is_labelled = target == "labels"
            targets.append(examples.labels[rows] if is_labelled else logits.softmax(-1).mean(0))
            errors.append(soft_error(logits, targets[-1]))
        return cls(torch.cat(targets), torch.cat(errors, dim=1))


def soft_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute a differentiable error: 1 minus the sharpened probability of the right class.

    Args:
        logits: logits ``[M, B, K]``, which are multiplied by ``SHARPNESS``.
        targets: labels ``[B]``, or probabilities ``[B, K]`` whose largest marks the right class.

    Returns:
        Errors ``[M, B]`` in [0, 1].
    """
    right = targets if targets.dim() == 1 else targets.argmax(-1)
    probabilities = (SHARPNESS * logits).softmax(-1)
    return 1 - probabilities.gather(2, right.expand(len(logits), -1)[..., None])[..., 0]


def smooth_similarity(errors: Tensor) -> Tensor:
    """Compute the mean pairwise intersection over union of soft errors.

    Args:
        errors: soft errors ``[M, B]`` in [0, 1].

    Returns:
        A scalar; for values of 0 and 1 the mean pairwise IoU.
    """
    both = errors @ errors.T
    each = errors.sum(1)
    union = each[:, None] + each - both
    pairs = both / union.clamp(min=1e-6)
    num = len(errors)
    return (pairs.sum() - pairs.diagonal().sum()) / (num * (num - 1))


def draw(codec: BehavioralCodec, num: int, generator: torch.Generator) -> Tensor:
    """Sample networks from the codec's Gaussian, decoded as the pipeline would.

    Args:
        codec: codec on any device.
        num: number of networks.
        generator: source of the latents and of the residual noise.

    Returns:
        Normalized vectors ``[num, length]`` with gradients to the correction.
    """
    latents = torch.randn(num, codec.latent_dim, generator=generator).to(codec.mean)
    noise = torch.randn(num, codec.length, generator=generator).to(codec.mean)
    return codec.decode(latents) + codec.residual_std * noise
