"""Principal components, and a learned correction of what they decode to.

Latents are coordinates along the zoo's principal components, each scaled to unit variance, so that
N(0, I) is the Gaussian of the zoo. A network drawn from it is usually worse than the originals:
what lies between networks is not a network. The correction moves it, by what the decoded network
does (``corrected_training.py``); encoding is linear and knows nothing of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers.configuration_utils import register_to_config
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from paramdiff.codecs.base import Codec, Statistics
from paramdiff.codecs.pca import ComponentsSettings, PCACodec, fit_pca_codec
from paramdiff.errors import UserError
from paramdiff.progress import Progress, ignore_progress
from paramdiff.random import seeded_generator
from paramdiff.settings import Settings
from paramdiff.training_loop import TrainingResult, train
from paramdiff.training_settings import Optimization


class BehavioralCodec(Codec):
    """Whitened principal components with a multilayer perceptron beside their decoder.

    Args:
        length: the padded vector's length.
        latent_dim: the number of components.
        width: of the perceptron's two hidden layers.
    """

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
    def around(cls, linear: PCACodec, vectors: Tensor, width: int) -> "BehavioralCodec":
        """A codec whose correction is 0 as yet.

        Args:
            linear: the principal components.
            vectors: the normalized vectors ``[N, length]`` that they were fitted to.
            width: of the correction's hidden layers, which draw their weights from torch's global
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
        """Normalized vectors ``[B, length]`` to coordinates ``[B, latent_dim]``."""
        along = (vectors - self.mean) @ self.components.T
        return along / self.components.square().sum(1)

    def decode(self, latents: Tensor, statistics: Statistics = "running") -> Tensor:
        """Coordinates ``[B, latent_dim]`` to corrected normalized vectors ``[B, length]``."""
        return latents @ self.components + self.mean + self.correction(latents)


def fit_behavioral_codec(
    vectors: Tensor, explained_variance: float, *, residual: bool, width: int
) -> BehavioralCodec:
    """Fit the components; the correction is 0 as yet. See ``fit_pca_codec``.

    Args:
        vectors: normalized vectors ``[N, length]``, at least two.
        explained_variance: the share of the zoo's variance to keep, in (0, 1].
        residual: whether the rest is modelled as independent noise.
        width: of the correction's hidden layers.

    Returns:
        The codec.
    """
    linear = fit_pca_codec(vectors, explained_variance, residual=residual)
    return BehavioralCodec.around(linear, vectors, width)


SHARPNESS = 5.0
"""What logits are multiplied by before they say how wrong a network is. At 1 the measure sees how
sure networks are rather than what they get wrong: it stood at the originals' level while the
errors themselves were as similar as 0.77 beside 0.65."""
NUM_SOURCES = 16
"""Originals whose similarity is the standard and, without labels, whose predictions together are
the targets. Each of more would cost a pass over all examples."""
RATE = 0.1
"""By how much the multiplier follows one update's excess of similarity."""
MOST = 10.0
"""The multiplier's largest value, where the similarity cannot be had."""
BATCH = 500


class BehaviorSettings(Settings):
    """What the decoded networks learn from."""

    target: Literal["labels", "originals"] = Field(
        "labels",
        description="what they should predict: the labels, or without labels what sixteen of the "
        "originals predict together",
    )
    num_networks: int = Field(6, gt=1, description="decoded networks per update")
    similarity_margin: float = Field(
        0.02,
        description="what the similarity of errors (IoU, smooth) may exceed the originals' by",
    )
    training: Optimization = Field(
        description="how the correction is trained; a batch is of examples, which all networks see"
    )


class BehavioralCodecSettings(ComponentsSettings):
    """Principal components, and a correction that is trained by behavior."""

    kind: Literal["behavioral"]
    width: int = Field(256, gt=0, description="of the correction's hidden layers")
    behavior: BehaviorSettings = Field(description="what the correction is trained by")

    @property
    def is_whitened(self) -> bool:
        """The correction is trained on what latents from N(0, I) become."""
        return True


@dataclass(frozen=True)
class Examples:
    """Training examples that decoded networks are run on.

    Attributes:
        logits: a normalized vector ``[length]`` and rows ``[B]`` to logits ``[B, K]``, through
            which gradients reach the vector.
        labels: ``[E]``.
    """

    logits: Callable[[Tensor, Tensor], Tensor]
    labels: Tensor


@dataclass(frozen=True)
class Standard:
    """What the originals say about the examples.

    Attributes:
        targets: what networks should predict: labels ``[E]``, or probabilities ``[E, K]``.
        wrong: ``[S, E]``, how wrong some of the originals are, by sharpened probabilities.
    """

    targets: Tensor
    wrong: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, vectors: Tensor, examples: Examples, target: str) -> "Standard":
        """Ask originals ``[S, length]`` about all examples, a block at a time."""
        targets, wrong = [], []
        for rows in torch.arange(len(examples.labels)).split(BATCH):
            logits = torch.stack([examples.logits(one, rows).cpu() for one in vectors])
            is_labelled = target == "labels"
            targets.append(examples.labels[rows] if is_labelled else logits.softmax(-1).mean(0))
            wrong.append(wrongness(logits, targets[-1]))
        return cls(torch.cat(targets), torch.cat(wrong, dim=1))


def wrongness(logits: Tensor, targets: Tensor) -> Tensor:
    """How wrong networks are, smoothly: 0 right, 1 wrong.

    Args:
        logits: ``[M, B, K]``.
        targets: labels ``[B]``, or probabilities ``[B, K]``, the largest of which is right.

    Returns:
        ``[M, B]``, 1 minus the probability of what is right, of logits times ``SHARPNESS``.
    """
    right = targets if targets.dim() == 1 else targets.argmax(-1)
    probabilities = (SHARPNESS * logits).softmax(-1)
    return 1 - probabilities.gather(2, right.expand(len(logits), -1)[..., None])[..., 0]


def smooth_similarity(wrong: Tensor) -> Tensor:
    """The mean intersection over union of pairs, of what is wrong by degrees.

    Args:
        wrong: ``[M, B]`` in [0, 1].

    Returns:
        A scalar; for values of 0 and 1 the mean pairwise IoU.
    """
    both = wrong @ wrong.T
    each = wrong.sum(1)
    union = each[:, None] + each - both
    pairs = both / union.clamp(min=1e-6)
    num = len(wrong)
    return (pairs.sum() - pairs.diagonal().sum()) / (num * (num - 1))


def train_corrected_codec(
    vectors: Tensor,
    settings: BehavioralCodecSettings,
    examples: Examples,
    *,
    seed: int,
    device: torch.device,
    state_file: Path | None = None,
    progress: Progress = ignore_progress,
) -> tuple[Codec, TrainingResult]:
    """Fit the components, then train the correction.

    Args:
        vectors: normalized vectors ``[N, length]``.
        settings: the codec and its training.
        examples: what decoded networks are run on.
        seed: of the initial weights, the latents and the batches.
        device: where to train; where ``examples`` compute.
        state_file: see ``engine.train``.
        progress: see ``engine.train``.

    Returns:
        The codec in evaluation mode on the CPU, and its losses.

    Raises:
        UserError: there are fewer than two checkpoints, or training diverged.
    """
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
    standard = Standard.of(vectors[sources[:NUM_SOURCES]].to(device), examples, behavior.target)
    held: dict[str, Any] = {"multiplier": 1.0}

    def batch_loss(module: Any, step: int, generator: torch.Generator) -> Tensor:
        drawn = draw(module, behavior.num_networks, generator)
        rows = torch.randint(
            len(examples.labels), (behavior.training.batch_size,), generator=generator
        )
        logits = torch.stack([examples.logits(vector, rows) for vector in drawn])
        targets = standard.targets[rows].to(device)
        loss = F.cross_entropy(logits.flatten(0, 1), torch.cat([targets] * len(drawn)))
        excess = (
            smooth_similarity(wrongness(logits, targets))
            - smooth_similarity(standard.wrong[:, rows]).to(logits)
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


def draw(codec: BehavioralCodec, num: int, generator: torch.Generator) -> Tensor:
    """Networks from the codec's Gaussian, as the pipeline would decode them.

    Args:
        codec: on any device.
        num: how many.
        generator: of latents, and of the noise for what the components leave out.

    Returns:
        Normalized vectors ``[num, length]`` with gradients to the correction.
    """
    latents = torch.randn(num, codec.latent_dim, generator=generator).to(codec.mean)
    noise = torch.randn(num, codec.length, generator=generator).to(codec.mean)
    return codec.decode(latents) + codec.residual_std * noise
