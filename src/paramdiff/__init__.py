"""paramdiff: from trained checkpoints to new networks, and an honest report.

The public names load when first used, so that ``import paramdiff`` costs nothing.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # as in the table below
    from paramdiff.codecs.autoencoder import AutoencoderCodec as AutoencoderCodec
    from paramdiff.codecs.behavioral import BehavioralCodec as BehavioralCodec
    from paramdiff.codecs.pca import PCACodec as PCACodec
    from paramdiff.codecs.registry import CODECS as CODECS
    from paramdiff.commands.check import check as check
    from paramdiff.commands.compare import compare as compare
    from paramdiff.commands.fit import fit as fit
    from paramdiff.commands.generate import generate as generate
    from paramdiff.commands.inspect import inspect as inspect
    from paramdiff.commands.make import make as make
    from paramdiff.commands.push import push as push
    from paramdiff.diffusion.denoisers.conv1d import Conv1dDenoiser as Conv1dDenoiser
    from paramdiff.diffusion.denoisers.mlp import MLPDenoiser as MLPDenoiser
    from paramdiff.diffusion.denoisers.registry import DENOISERS as DENOISERS
    from paramdiff.errors import UserError as UserError
    from paramdiff.evaluation.metrics.registry import METRICS as METRICS
    from paramdiff.methods.registry import METHODS as METHODS
    from paramdiff.parameters.space import ParameterSpace as ParameterSpace
    from paramdiff.pipeline import ParameterDiffusionPipeline as ParameterDiffusionPipeline
    from paramdiff.progress_display import show_progress as show_progress
    from paramdiff.recipe.schema import Recipe as Recipe
    from paramdiff.recipe.schema import load_recipe as load_recipe
    from paramdiff.runs.run import run as run
    from paramdiff.zoo.recorder import ZooRecorder as ZooRecorder
    from paramdiff.zoo.zoo import Zoo as Zoo

__version__ = "0.1.0"

_PUBLIC = {
    "check": "paramdiff.commands.check",
    "compare": "paramdiff.commands.compare",
    "fit": "paramdiff.commands.fit",
    "generate": "paramdiff.commands.generate",
    "inspect": "paramdiff.commands.inspect",
    "make": "paramdiff.commands.make",
    "push": "paramdiff.commands.push",
    "run": "paramdiff.runs.run",
    "load_recipe": "paramdiff.recipe.schema",
    "show_progress": "paramdiff.progress_display",
    "ParameterDiffusionPipeline": "paramdiff.pipeline",
    "ParameterSpace": "paramdiff.parameters.space",
    "AutoencoderCodec": "paramdiff.codecs.autoencoder",
    "BehavioralCodec": "paramdiff.codecs.behavioral",
    "PCACodec": "paramdiff.codecs.pca",
    "Conv1dDenoiser": "paramdiff.diffusion.denoisers.conv1d",
    "MLPDenoiser": "paramdiff.diffusion.denoisers.mlp",
    "Zoo": "paramdiff.zoo.zoo",
    "ZooRecorder": "paramdiff.zoo.recorder",
    "Recipe": "paramdiff.recipe.schema",
    "UserError": "paramdiff.errors",
    "METHODS": "paramdiff.methods.registry",
    "METRICS": "paramdiff.evaluation.metrics.registry",
    "CODECS": "paramdiff.codecs.registry",
    "DENOISERS": "paramdiff.diffusion.denoisers.registry",
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
