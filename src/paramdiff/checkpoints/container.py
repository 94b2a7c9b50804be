"""The container around a state dict in its file: unwrapped when reading, restored when writing."""

from typing import Any

from pydantic import Field
from torch import Tensor

from paramdiff.checkpoints.safe_unpickle import Placeholder, from_json, to_json
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
"""Prefixes that DataParallel and torch.compile add to every name."""

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
"""Keys that Lightning, also in older versions, requires beside the state dict."""

MAX_DEPTH = 4
MAX_NAMED = 4


class Container(Settings):
    """The mappings, prefix and extra values around the tensors of a file."""

    keys: tuple[str, ...] = Field((), description="keys of the mappings around the state dict")
    prefix: str = Field("", description="common prefix of all names")
    beside: dict[str, Any] = Field(
        {}, description="plain values that the library requires beside the state dict, as JSON"
    )
    left_out: tuple[str, ...] = Field(
        (), exclude=True, description="names of such values that have no JSON encoding"
    )

    def wrap(self, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """Wrap tensors as they were in the file."""
        content: dict[str, Any] = {f"{self.prefix}{name}": one for name, one in tensors.items()}
        for key in reversed(self.keys):
            content = {key: content}
        return {key: from_json(value) for key, value in self.beside.items()} | content


def unwrap(content: Any, state_dict_key: str | None = None) -> tuple[dict[Any, Any], Container]:
    """Find the state dict in the content of a file.

    Args:
        content: unpickled content of the file.
        state_dict_key: key of the state dict if there are several; ``generator.ema`` is the key
            ``ema`` under the key ``generator``.

    Returns:
        The state dict, with unchecked values and full names, and its container.

    Raises:
        UserError: there is no state dict, or several and ``state_dict_key`` chooses none.
    """
    keys: list[str] = []
    beside, left_out = _of_lightning(content)
    wanted = state_dict_key
    for _ in range(MAX_DEPTH):
        if not isinstance(content, dict):
            raise UserError(f"this is no state dict, but {_kind_of(content)}")
        # by subscript: the file may have set an attribute that shadows a method
        found, rest = _wanted(content, wanted)
        if not found:
            found = _state_dicts(content)
            if not found and wanted is not None:
                raise UserError(f"there is no state dict under {state_dict_key!a}")
            if not found:
                _refuse_without_tensors(content)
                around = Container(keys=tuple(keys))
                if keys:
                    around = around.model_copy(update={"beside": beside, "left_out": left_out})
                return content, around
        if len(found) > 1:
            options = " or ".join(
                f"--state-dict-key {'.'.join([*keys, key])}" for key in found[:MAX_NAMED]
            )
            raise UserError(f"several state dicts ({', '.join(found)}); choose one with {options}")
        wanted = rest
        keys.append(found[0])
        content = content[found[0]]
    raise UserError(f"this is no state dict, but mappings nested {MAX_DEPTH} or more deep")


def _wanted(content: dict[Any, Any], wanted: str | None) -> tuple[list[str], str | None]:
    """Match a dotted key (``generator.ema``) at this level; return the key and the remainder."""
    if wanted is None:
        return [], None
    if wanted in content and isinstance(content[wanted], dict):
        return [wanted], None
    head, _, rest = wanted.partition(".")
    if rest and head in content and isinstance(content[head], dict):
        return [head], rest
    return [], wanted


def _state_dicts(content: dict[Any, Any]) -> list[str]:
    """List keys of state dicts: the usual ones, or all if no tensor lies beside them."""
    usual = [key for key in WRAPPERS if key in content and isinstance(content[key], dict)]
    filled = [key for key in usual if len(content[key])]
    if usual:
        return filled or usual
    if "param_groups" in content or any(isinstance(content[key], Tensor) for key in content):
        return []
    seen: dict[int, bool] = {}
    keys = [key for key in content if type(key) is str and key.isprintable()]
    return [key for key in keys if _holds_weights(content[key], MAX_DEPTH, seen)]


def _holds_weights(value: Any, depth: int, seen: dict[int, bool]) -> bool:
    """Check if a mapping holds floating-point tensors and is not an optimizer's state."""
    if not isinstance(value, dict) or depth == 0 or "param_groups" in value:
        return False
    if id(value) not in seen:
        seen[id(value)] = False  # a mapping may contain itself
        seen[id(value)] = any(
            Tensor.is_floating_point(value[key])
            if isinstance(value[key], Tensor)
            else _holds_weights(value[key], depth - 1, seen)
            for key in value
        )
    return seen[id(value)]


def _refuse_without_tensors(content: dict[Any, Any]) -> None:
    if "param_groups" in content:
        raise UserError(
            "this is the state of an optimizer (state, param_groups); pass the file with the "
            "weights"
        )
    is_text = all(type(key) is str and key.isprintable() for key in content)
    kinds = {type(content[key]) for key in content}
    if content and is_text and not any(issubclass(kind, (Tensor, Placeholder)) for kind in kinds):
        raise UserError(f"there are no named tensors under {', '.join(list(content)[:MAX_NAMED])}")


def _kind_of(content: Any) -> str:
    if isinstance(content, Placeholder):
        return "a value that is not a tensor"
    return type(content).__name__


def _of_lightning(content: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Encode the values that Lightning requires beside a state dict; list those left out."""
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
    """Remove the prefixes that all names share.

    Args:
        tensors: name to tensor.

    Returns:
        The tensors under their own names, and the removed prefix.
    """
    taken = ""
    while True:
        shared = [p for p in PREFIXES if all(name.startswith(p) for name in tensors)]
        if not shared:
            return tensors, taken
        tensors = {name.removeprefix(shared[0]): tensor for name, tensor in tensors.items()}
        taken += shared[0]
