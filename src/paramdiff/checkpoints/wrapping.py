"""What lies around a state dict in its file, taken off when reading and put back when writing."""

from typing import Any

from pydantic import Field
from torch import Tensor

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

MAX_DEPTH = 4


class Wrapping(Settings):
    """What lay around the tensors of a file."""

    keys: tuple[str, ...] = Field((), description="of the mappings around the state dict")
    prefix: str = Field("", description="that every name had")

    def around(self, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """A state dict as its file had it."""
        content: dict[str, Any] = {f"{self.prefix}{name}": one for name, one in tensors.items()}
        for key in reversed(self.keys):
            content = {key: content}
        return content


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
            return content, Wrapping(keys=tuple(keys))
        if len(found) > 1:
            raise UserError(f"expected one state dict, found several: {', '.join(found)}")
        keys.append(found[0])
        content = content[found[0]]
    raise UserError(f"expected a state dict, found dicts nested {MAX_DEPTH} deep or deeper")


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
