"""Settings of the codecs."""

from typing import Literal

from pydantic import Field

from paramdiff.settings import Settings
from paramdiff.training_settings import Optimization

Statistics = Literal["sample", "batch", "running"]
"""Statistics that a codec's normalization layers use: each sample's own over its length, those of
the batch, or the running averages of training."""
CHANNELS = (64, 128, 256, 256, 32)
KERNEL_SIZE = 7
WIDER = (0.8, 0.95, 0.99)
"""Shares of the variance to suggest if too little is kept."""


class CodecSettings(Settings):
    """Sizes of a codec and how it is fitted.

    A subclass narrows ``kind`` to the codec's key in ``CODECS`` and overrides the properties whose
    defaults do not hold for it.
    """

    kind: str

    @property
    def decoding_statistics(self) -> Statistics:
        """Statistics of normalization layers when decoding; irrelevant if there are none."""
        return "running"

    @property
    def is_whitened(self) -> bool:
        """True if latents are fitted to follow N(0, I)."""
        return False

    @property
    def shared_training(self) -> Optimization | None:
        """Training on batches of vectors, which the processes of a launch share; None if none."""
        return None

    @property
    def learns_from(self) -> Literal["inputs", "labels"] | None:
        """Task data that the codec is trained on; None if it sees the checkpoints alone."""
        return None

    @property
    def examples_seen(self) -> int:
        """Task examples used in training, each as often as a network is trained on it."""
        return 0

    @property
    def num_training_vectors(self) -> int:
        """Vectors that are encoded and decoded in training, each as often as it is."""
        training = self.shared_training
        return 0 if training is None else training.num_updates * training.batch_size

    def describe(self) -> str:
        """Describe the codec in one phrase."""
        return self.kind

    def suggest_wider(self) -> str | None:
        """Suggest, as words and options, a codec that keeps more; None if there is none."""
        return None


class PCASettings(CodecSettings):
    """Settings shared by codecs of principal components."""

    explained_variance: float = Field(
        gt=0, le=1, description="share of the zoo's variance that the components keep"
    )
    residual: bool = Field(
        True, description="give the rest back to generated vectors as independent noise"
    )

    def describe(self) -> str:
        """See ``CodecSettings``."""
        share = self.explained_variance
        return f"principal components that keep {share:.1%} of the zoo's variance"

    def suggest_wider(self) -> str | None:
        """See ``CodecSettings``."""
        more = [share for share in WIDER if share > self.explained_variance]
        return f"a wider codec (--set codec.explained_variance={more[0]})" if more else None


class PCACodecSettings(PCASettings):
    """Principal components of the zoo."""

    kind: Literal["pca"]


class AutoencoderCodecSettings(CodecSettings):
    """The paper's autoencoder and its training."""

    kind: Literal["autoencoder"]
    latent_dim: int = Field(gt=0, description="size of the latent")
    channels: tuple[int, ...] = Field(CHANNELS, description="encoder channels, mirrored to decode")
    kernel_size: int = Field(KERNEL_SIZE, gt=0, description="size of every convolution; odd")
    target: Literal["clean", "noisy"] = Field(
        description="reconstruct the clean vector (paper) or the noised input (authors' code)"
    )
    input_noise: float = Field(
        ge=0, description="standard deviation added to the vector (sigma_v)"
    )
    latent_noise: float = Field(
        ge=0, description="standard deviation added to the latent (sigma_z)"
    )
    kl_weight: float = Field(
        0.0, ge=0, description="weight of the KL term; above 0 a real VAE with learned variance"
    )
    statistics: Statistics = Field(
        description="normalization statistics when decoding: each sample's own (in effect the "
        "authors') or running averages"
    )
    training: Optimization = Field(description="how the autoencoder is trained")

    @property
    def decoding_statistics(self) -> Statistics:
        """See ``CodecSettings``."""
        return self.statistics

    @property
    def is_whitened(self) -> bool:
        """A variational autoencoder is trained to have latents that follow N(0, I)."""
        return self.kl_weight > 0

    @property
    def shared_training(self) -> Optimization:
        """See ``CodecSettings``."""
        return self.training

    def describe(self) -> str:
        """See ``CodecSettings``."""
        kind = "variational autoencoder" if self.kl_weight else "autoencoder"
        return f"convolutional {kind}, latent of {self.latent_dim:,}"

    def suggest_wider(self) -> str:
        """See ``CodecSettings``."""
        return "principal components (--set codec.kind=pca --set codec.explained_variance=0.8)"


class BehaviorSettings(Settings):
    """Training of the correction on the predictions of decoded networks."""

    target: Literal["labels", "originals"] = Field(
        "labels",
        description="training targets: the labels, or (without labels) the mean prediction of "
        "sixteen originals",
    )
    num_networks: int = Field(6, gt=1, description="decoded networks per update")
    similarity_margin: float = Field(
        0.02,
        description="by how much the similarity of errors (smooth IoU) may exceed the originals'",
    )
    training: Optimization = Field(
        description="how the correction is trained; a batch is of examples, which all networks see"
    )


class BehavioralCodecSettings(PCASettings):
    """Principal components with a correction that is trained by behavior."""

    kind: Literal["behavioral"]
    width: int = Field(256, gt=0, description="width of the correction's hidden layers")
    behavior: BehaviorSettings = Field(description="how the correction is trained")

    @property
    def is_whitened(self) -> bool:
        """The correction is trained on networks decoded from N(0, I)."""
        return True

    @property
    def learns_from(self) -> Literal["inputs", "labels"]:
        """See ``CodecSettings``."""
        return "labels" if self.behavior.target == "labels" else "inputs"

    @property
    def examples_seen(self) -> int:
        """See ``CodecSettings``."""
        training = self.behavior.training
        return training.num_updates * training.batch_size * self.behavior.num_networks

    def describe(self) -> str:
        """See ``CodecSettings``."""
        return f"{super().describe()}, and a correction that is trained on what networks do"
