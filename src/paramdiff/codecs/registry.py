"""Registry of codecs: the ``kind`` of a recipe's ``codec`` to the class.

To add a codec, append its class here (or, from outside the package, assign to ``CODECS``).
"""

from typing import Annotated, Any

from torch import Tensor

from paramdiff.codecs.autoencoder import AutoencoderCodec
from paramdiff.codecs.base import Codec, CodecSettings
from paramdiff.codecs.behavioral import BehavioralCodec
from paramdiff.codecs.pca import PCACodec
from paramdiff.settings import OneOfKinds
from paramdiff.training_loop import TrainingResult

CODECS: dict[str, type[Codec]] = {
    "pca": PCACodec,
    "autoencoder": AutoencoderCodec,
    "behavioral": BehavioralCodec,
}

AnyCodecSettings = Annotated[CodecSettings, OneOfKinds(CODECS)]
"""Settings of any registered codec."""


def fit_codec(
    vectors: Tensor, settings: CodecSettings, **options: Any
) -> tuple[Codec, TrainingResult]:
    """Fit the codec that the settings configure; see ``Codec.fit``."""
    return CODECS[settings.kind].fit(vectors, settings, **options)
