"""Base class of the saved parts of a pipeline: a diffusers module that loads strictly.

diffusers only warns about missing or unexpected tensors; a pipeline with a missing part would
generate nonsense. A ``Component`` raises an error that names the tensor, and stores a class path
that does not change when a file of this package moves.
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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__module__ = "paramdiff"  # stored in model_index.json; the package exports the class

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
                raise UserError(f"{where}: expected a {cls.__name__}, found a {stored}")
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


def on_device_only(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """Move a tensor to the device of ``moved``, keeping its precision."""
    return tensor.to(moved.device)
