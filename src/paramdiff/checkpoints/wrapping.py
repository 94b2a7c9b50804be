"""What lies around a state dict in its file, taken off when reading and put back when writing."""

from typing import Any

from pydantic import Field
from torch import Tensor

from paramdiff.checkpoints.plain import from_json, to_json
from paramdiff.errors import UserError
from paramdiff.settings import Settings

WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
    "ema",
    "ema_state_dict",
    "model_ema",
    "state_dict_ema",
)
"""Keys under which trainers keep a state dict (Lightning: ``state_dict``)."""

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

LIGHTNING_VERSION = "pytorch-lightning_version"
LIGHTNING_COUNTS = ("epoch", "global_step")
LIGHTNING_KEYS = (
    LIGHTNING_VERSION,
    *LIGHTNING_COUNTS,
    "loops",
    "hparams",
    "hparams_name",
    "hparams_type",
    "hyper_parameters",
    "module_arguments",
    "datamodule_hparams_name",
    "datamodule_hparams_type",
    "datamodule_hyper_parameters",
)
"""What Lightning, or an older one, asks of a file beside the state dict; no state of training."""

MAX_DEPTH = 4


class Wrapping(Settings):
    """What lay around the tensors of a file."""

    keys: tuple[str, ...] = Field((), description="of the mappings around the state dict")
    prefix: str = Field("", description="that every name had")
    beside: dict[str, Any] = Field(
        {}, description="plain values around the state dict that its library asks for, as JSON"
    )
    left_out: tuple[str, ...] = Field(
        (), exclude=True, description="names of such values that are not plain"
    )

    def around(self, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """A state dict as its file had it."""
        content: dict[str, Any] = {f"{self.prefix}{name}": one for name, one in tensors.items()}
        for key in reversed(self.keys):
            content = {key: content}
        return {key: from_json(value) for key, value in self.beside.items()} | content


def unwrap(content: Any, entry: str | None = None) -> tuple[dict[Any, Any], Wrapping]:
    """Find the state dict in what a file holds.

    Args:
        content: of the file.
        entry: the key of the state dict, where there are several.

    Returns:
        The state dict, values unchecked and names whole, and the keys around it.

    Raises:
        UserError: there is none, or several and no entry is named.
    """
    keys: list[str] = []
    beside, left_out = _of_lightning(content)
    for _ in range(MAX_DEPTH):
        if not isinstance(content, dict):
            raise UserError(f"expected a state dict, found {type(content).__name__}")
        # by subscript: an attribute that the file set may stand in place of a method
        found = [key for key in WRAPPERS if key in content and isinstance(content[key], dict)]
        if entry is not None and entry in content and isinstance(content[entry], dict):
            found = [entry]
        if not found:
            if entry is not None and entry not in keys:
                raise UserError(f"expected a state dict under {entry!a}, found none")
            around = Wrapping(keys=tuple(keys))
            if keys:
                around = around.model_copy(update={"beside": beside, "left_out": left_out})
            return content, around
        if len(found) > 1:
            raise UserError(f"expected one state dict, found several: {', '.join(found)}")
        keys.append(found[0])
        content = content[found[0]]
    raise UserError(f"expected a state dict, found dicts nested {MAX_DEPTH} deep or deeper")


def _of_lightning(content: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What Lightning asks for beside a state dict, as JSON, and what of it is not plain."""
    beside: dict[str, Any] = {}
    left_out: list[str] = []
    if not isinstance(content, dict) or "state_dict" not in content:
        return {}, ()
    if LIGHTNING_VERSION not in content and any(key not in content for key in LIGHTNING_COUNTS):
        return {}, ()
    for key in LIGHTNING_KEYS:
        if key in content:
            value, missing = to_json(content[key], key)
            left_out += missing
            if key not in missing:
                beside[key] = value
    return beside, tuple(left_out)


def without_prefix(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Take off the prefixes that all names have.

    Args:
        tensors: name to tensor.

    Returns:
        The tensors under their own names, and what was taken off.
    """
    taken = ""
    while True:
        shared = [p for p in PREFIXES if all(name.startswith(p) for name in tensors)]
        if not shared:
            return tensors, taken
        tensors = {name.removeprefix(shared[0]): tensor for name, tensor in tensors.items()}
        taken += shared[0]
