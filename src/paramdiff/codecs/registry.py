"""Registry of codecs: the ``kind`` of a recipe's ``codec`` to the class.

To add a codec, append an entry here (or, from outside the package, assign its class to
``CODECS``).
"""

from typing import TYPE_CHECKING, Annotated, Any

from paramdiff.codecs.codec_settings import (
    AutoencoderCodecSettings,
    BehavioralCodecSettings,
    CodecSettings,
    PCACodecSettings,
)
from paramdiff.registry import OneOfKinds, Registry, Unloaded

if TYPE_CHECKING:
    from torch import Tensor

    from paramdiff.codecs.base import Codec
    from paramdiff.training_loop import TrainingResult

CODECS = Registry(
    {
        "pca": Unloaded(PCACodecSettings, "paramdiff.codecs.pca:PCACodec"),
        "autoencoder": Unloaded(
            AutoencoderCodecSettings, "paramdiff.codecs.autoencoder:AutoencoderCodec"
        ),
        "behavioral": Unloaded(
            BehavioralCodecSettings, "paramdiff.codecs.behavioral:BehavioralCodec"
        ),
    }
)

AnyCodecSettings = Annotated[CodecSettings, OneOfKinds(CODECS)]
"""Settings of any registered codec."""


def fit_codec(
    vectors: "Tensor", settings: CodecSettings, **options: Any
) -> "tuple[Codec, TrainingResult]":
    """Fit the codec that the settings configure; see ``Codec.fit``."""
    return CODECS[settings.kind].fit(vectors, settings, **options)
