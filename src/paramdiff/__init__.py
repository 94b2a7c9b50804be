"""paramdiff: from trained checkpoints to new networks, and an honest report.

The public names load when first used, so that ``import paramdiff`` costs nothing.
"""

import sys
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "ParameterDiffusionPipeline": "paramdiff.pipeline",
    "ParameterSpace": "paramdiff.parameters.space",
    "AutoencoderCodec": "paramdiff.codecs.autoencoder",
    "BehavioralCodec": "paramdiff.codecs.behavioral",
    "PCACodec": "paramdiff.codecs.pca",
    "Conv1dDenoiser": "paramdiff.diffusion.denoisers.conv1d",
    "MLPDenoiser": "paramdiff.diffusion.denoisers.mlp",
    "Zoo": "paramdiff.zoo.zoo",
    "Recipe": "paramdiff.recipe.schema",
    "load_recipe": "paramdiff.recipe.schema",
    "run": "paramdiff.runs",
    "UserError": "paramdiff.errors",
    # diffusers looks its base class up in the module that model_index.json names
    "ModelMixin": "diffusers",
}

_REGISTRIES = {
    "paramdiff.codecs.registry": "CODECS",
    "paramdiff.diffusion.denoisers.registry": "DENOISERS",
}

__all__ = [name for name in _PUBLIC if name != "ModelMixin"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    # a saved pipeline names the classes of its parts as members of this module
    for module, registry in _REGISTRIES.items():
        if module in sys.modules:
            found = getattr(sys.modules[module], registry).named(name)
            if found is not None:
                return found
    raise AttributeError(f"module 'paramdiff' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
