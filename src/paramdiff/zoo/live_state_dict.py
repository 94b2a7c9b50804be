"""The state dict of a network in training, without the wrappers that training puts around it."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from paramdiff.checkpoints.tensor_kinds import is_infinite_mask
from paramdiff.errors import NotFiniteError, UserError

_SHARDED = frozenset({"FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine"})
_WRAPPED = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_GATHER = (
    "gather it and pass the result: torch.distributed.checkpoint.state_dict.get_model_state_dict("
    "network, options=StateDictOptions(full_state_dict=True))"
)


def is_first_process() -> bool:
    """Return True in the process that writes: the only one, or that of rank 0."""
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized()) or (
        distributed.get_rank() == 0
    )


def refuse_sharded(network: nn.Module) -> None:
    """Raise a ``UserError`` if a network lies in parts; call in every process.

    Gathering the parts would need all processes.
    """
    kinds = {base.__name__ for module in network.modules() for base in type(module).__mro__}
    if kinds & _SHARDED:
        raise UserError(f"the network is sharded over processes: {_GATHER}")


def live_state_dict(network: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's tensors under the names that it has without wrappers.

    Args:
        network: a network, possibly wrapped by data parallelism or torch.compile, or the state
            dict of one.

    Returns:
        Name to tensor; the tensors are the network's own.

    Raises:
        UserError: an entry is not a tensor, or there is none.
    """
    bare: Any = network
    while isinstance(bare, _WRAPPED) or hasattr(bare, "_orig_mod"):
        bare = bare.module if isinstance(bare, _WRAPPED) else bare._orig_mod
    is_module = isinstance(bare, nn.Module)
    content = bare.state_dict() if is_module else bare
    if not isinstance(content, Mapping):
        raise UserError(f"expected a network or a state dict, found {type(content).__name__}")
    found = {re.sub(r"(^|\.)_orig_mod\.", r"\1", str(name)): one for name, one in content.items()}
    while found and not is_module and all(name.startswith("module.") for name in found):
        found = {name.removeprefix("module."): one for name, one in found.items()}
    if not found:
        raise UserError("the state dict is empty")
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise UserError(
                f"{name}: expected a tensor, found {type(value).__name__}: pass a state dict "
                "without it"
            )
    return found


def refuse_unusable(tensors: Mapping[str, Tensor], step: int) -> None:
    """Refuse tensors that could not be read again, or from which nothing can be learned.

    Args:
        tensors: name to tensor.
        step: training step, for the error.

    Raises:
        UserError: a tensor is a part of one, or has a type that is not read.
        NotFiniteError: a tensor holds NaN or infinite values.
    """
    for name, tensor in tensors.items():
        is_empty = name.endswith("weight") and not tensor.numel()
        if is_empty or tensor.is_meta or hasattr(tensor, "full_tensor"):
            raise UserError(f"{name}: expected all values of the tensor, found a part: {_GATHER}")
        is_plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
        if not is_plain or tensor.is_quantized:
            found = f"{type(tensor).__name__}, {tensor.layout}, {tensor.dtype}"
            raise UserError(f"{name}: expected a dense tensor, found {found}")
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        if tensor.dtype.itemsize == 1:
            raise UserError(f"{name}: expected 16 or more bits per number, found {tensor.dtype}")
        if not torch.isfinite(tensor).all() and not is_infinite_mask(tensor):
            raise NotFiniteError(
                f"step {step}: {name} holds NaN or infinite values: the training has diverged"
            )
