"""Base class of the saved parts of a pipeline: a diffusers module that loads strictly.

diffusers only warns about missing or unexpected tensors; a pipeline with a missing part would
generate nonsense. A ``Component`` raises an error that names the tensor. A pipeline's index names
its class as a member of this package, so that saved pipelines stay valid when files move.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin

from paramdiff.errors import UserError, first_line, of_an_earlier_version
from paramdiff.storage import read_json

EARLIER_CLASSES = ("LinearCodec", "ConvolutionalCodec", "CorrectedCodec", "ConvolutionalDenoiser")
"""Former names of component classes."""


class Component(ModelMixin, ConfigMixin):
    """A saved part of a pipeline: ``config.json`` and ``diffusion_pytorch_model.safetensors``."""

    @classmethod
    def from_pretrained(cls, folder: Any, **kwargs: Any) -> Any:
        """Load a component and check that no tensor is missing or unexpected.

        Args:
            folder: folder written by ``save_pretrained``.
            **kwargs: passed on to diffusers.

        Returns:
            The component, in evaluation mode.

        Raises:
            UserError: the folder holds another class, or a tensor is missing, unexpected or
                misshapen.
        """
        where = Path(folder) / kwargs.get("subfolder", "")
        if where.is_dir():
            stored = read_json(where / "config.json").get("_class_name")
            if stored in EARLIER_CLASSES:
                raise of_an_earlier_version(where, stored)
            if stored != cls.__name__:
                raise UserError(f"{where}: this is a {stored}, not a {cls.__name__}")
        wanted = kwargs.pop("output_loading_info", False)
        kwargs.setdefault("use_safetensors", True)
        try:
            component, info = super().from_pretrained(folder, output_loading_info=True, **kwargs)
        except UserError:
            raise
        except (ValueError, OSError, RuntimeError, KeyError) as error:
            raise UserError(f"{where}: cannot be loaded: {first_line(error)}") from None
        for problem, names in info.items():
            if names:
                raise UserError(f"{where}: {problem.replace('_', ' ')}: {sorted(map(str, names))}")
        return (component, info) if wanted else component


def index_entry(kind: type) -> tuple[str, str]:
    """Return the library and the class by which a pipeline's index names a part.

    Args:
        kind: class of the part: a component of this package, a registered one, or a scheduler.

    Returns:
        Names of a module, which exports the class, and of the class.
    """
    root = "paramdiff" if issubclass(kind, Component) else kind.__module__.split(".")[0]
    return root, kind.__name__


def on_device_only(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """Move a tensor to the device of ``moved``, keeping its precision."""
    return tensor.to(moved.device)
