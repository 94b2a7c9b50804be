"""The parameter space: state dicts to normalized, padded vectors, and back to state dicts.

The first stage of the pipeline (normalization and padding as in the authors'
``dataset/__init__.py``). Unselected tensors are restored bit for bit from the base checkpoint,
which is saved with the space.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor
from torch.nn import functional as F

from paramdiff.checkpoints.formats import CheckpointFormat, read_format
from paramdiff.component import Component, on_device_only
from paramdiff.errors import UserError, suggestion
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.normalization import Normalization, fit_normalization, lost_variances
from paramdiff.parameters.parameter_settings import NormalizationMode
from paramdiff.storage import read_tensors, write_json, write_tensors

BASE_FILE = "base.safetensors"
FORMAT_FILE = "checkpoint_format.json"
PADDING_MULTIPLE = 64


class ParameterSpace(Component):
    """Vectors of selected parameters, normalized and zero-padded to a multiple of 64.

    Args:
        slots: ``[name, shape, dtype]`` of every tensor in the vector, in order.
        ties: ``[name, source]`` of further names of these tensors.
    """

    @register_to_config
    def __init__(self, slots: Sequence[Sequence], ties: Sequence[Sequence[str]] = ()) -> None:
        super().__init__()
        self.layout = ParameterLayout.from_json(slots, ties)
        size, dtype = self.layout.num_parameters, self.layout.dtype
        self.register_buffer("location", torch.zeros(size, dtype=dtype))
        self.register_buffer("scale", torch.ones(size, dtype=dtype))
        self.register_buffer("reference", torch.zeros(size, dtype=dtype))
        self.base: dict[str, Tensor] = {}
        self.checkpoint_format: CheckpointFormat | None = None

    @classmethod
    def fit(
        cls,
        vectors: Tensor,
        layout: ParameterLayout,
        base: Mapping[str, Tensor],
        mode: NormalizationMode = "tensor",
        checkpoint_format: CheckpointFormat | None = None,
    ) -> "ParameterSpace":
        """Fit a space to a zoo.

        Args:
            vectors: raw parameter vectors ``[N, P]``.
            layout: position of each tensor.
            base: complete state dict that provides unselected tensors.
            mode: mode of the normalization.
            checkpoint_format: format of imported checkpoints.

        Returns:
            The space.
        """
        lost = lost_variances(vectors, layout, mode)
        if lost:
            warnings.warn(
                f"{', '.join(lost)}: variances below a thousandth of their layer's mean are "
                f"raised to it, because parameters.normalization is {mode}; 'centered' keeps them",
                stacklevel=2,
            )
        space = cls(slots=layout.to_json(), ties=[list(tie) for tie in layout.ties])
        fitted = fit_normalization(vectors, layout, mode)
        space.location.copy_(fitted.location)
        space.scale.copy_(fitted.scale)
        space.reference.copy_(fitted.reference)
        space.base = {name: tensor.detach().clone() for name, tensor in base.items()}
        space.checkpoint_format = checkpoint_format
        return space.eval()

    @property
    def num_parameters(self) -> int:
        """``P``, the number of generated parameters."""
        return self.layout.num_parameters

    @property
    def padded_length(self) -> int:
        """``P`` rounded up to a multiple of 64: the input size of the codec."""
        return padded(self.num_parameters)

    @property
    def normalization(self) -> Normalization:
        """The fitted constants."""
        return Normalization(self.location, self.scale, self.reference)

    def normalize(self, vectors: Tensor) -> Tensor:
        """Normalize and zero-pad raw vectors ``[..., P]`` to ``[..., padded_length]``."""
        values = self.normalization.apply(vectors.to(self.location)).float()
        return F.pad(values, (0, self.padded_length - self.num_parameters))

    def denormalize(self, normalized: Tensor) -> Tensor:
        """Restore raw vectors ``[..., P]`` from normalized ones ``[..., padded_length]``."""
        values = normalized[..., : self.num_parameters].to(self.location.device)
        return self.normalization.invert(values)

    def flatten(self, state_dict: Mapping[str, Tensor]) -> Tensor:
        """Flatten a state dict to its raw vector ``[P]``."""
        return self.layout.flatten(state_dict)

    def restore(self, vector: Tensor) -> dict[str, Tensor]:
        """Restore the complete state dict of a raw vector.

        Args:
            vector: ``[P]``.

        Returns:
            A state dict that ``load_state_dict(strict=True)`` accepts, in the base checkpoint's
            order; tensors outside the layout are copied from it. Tied tensors are one object.
        """
        return self.layout.complete(vector, self.base)

    def complete_from(
        self, base: Mapping[str, Tensor], checkpoint_format: CheckpointFormat | None, where: str
    ) -> None:
        """Take unselected tensors, types and the format from another checkpoint.

        Args:
            base: complete state dict.
            checkpoint_format: its format.
            where: its name in an error.

        Raises:
            UserError: a tensor of the layout is missing, has another shape, or holds no
                floating-point values.
        """
        for slot in self.layout.slots:
            tensor = base.get(slot.name)
            if tensor is None:
                raise UserError(
                    f"{where}: the tensor {slot.name!r}, which is generated, is missing; "
                    f"{suggestion(slot.name, base)}"
                )
            is_fitting = (
                tensor.is_complex() if slot.dtype.is_complex else tensor.is_floating_point()
            )
            if tuple(tensor.shape) != slot.shape or not is_fitting:
                expected = "complex" if slot.dtype.is_complex else "floating-point"
                raise UserError(
                    f"{where}: tensor {slot.name!r} must hold {expected} values of shape "
                    f"{list(slot.shape)}, but is {tensor.dtype} of shape {list(tensor.shape)}"
                )
        slots = (replace(slot, dtype=base[slot.name].dtype) for slot in self.layout.slots)
        self.layout = ParameterLayout(tuple(slots), self.layout.ties)
        self.base, self.checkpoint_format = dict(base), checkpoint_format

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Save the space, its base checkpoint and the checkpoint format."""
        super().save_pretrained(save_directory, **kwargs)
        write_tensors(Path(save_directory) / BASE_FILE, self.base, keeps_order=True)
        if self.checkpoint_format is not None:
            write_json(
                Path(save_directory) / FORMAT_FILE, self.checkpoint_format.model_dump(mode="json")
            )
            self.checkpoint_format.copy_extra_files(Path(save_directory))

    @classmethod
    def from_pretrained(cls, folder: Any, **kwargs: Any) -> Any:
        """Load the space and its base checkpoint.

        Args:
            folder: folder written by ``save_pretrained``.
            **kwargs: passed on to diffusers.

        Returns:
            The space.

        Raises:
            UserError: a file is missing or foreign, or the base lacks a tensor of the layout.
        """
        loaded = super().from_pretrained(folder, **kwargs)
        space = loaded[0] if isinstance(loaded, tuple) else loaded
        where = Path(folder) / kwargs.get("subfolder", "") / BASE_FILE
        space.base = read_tensors(where)
        missing = [name for name in space.layout.names if name not in space.base]
        if missing:
            raise UserError(f"{where}: tensor {missing[0]!r} of the parameter space is missing")
        if where.with_name(FORMAT_FILE).is_file():
            space.checkpoint_format = read_format(where.with_name(FORMAT_FILE))
        return loaded

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ParameterSpace":
        """Move between devices, but never to a lower precision: the constants must stay exact."""
        for name, buffer in self.named_buffers():
            moved = fn(buffer.float())  # every device has 32 bits; some lack 64
            if moved.device.type != "mps" or buffer.dtype != torch.float64:
                setattr(self, name, on_device_only(buffer, moved))
        return self


def padded(num_parameters: int) -> int:
    """Round up to a multiple of 64, which allows five halvings."""
    return -(-num_parameters // PADDING_MULTIPLE) * PADDING_MULTIPLE
