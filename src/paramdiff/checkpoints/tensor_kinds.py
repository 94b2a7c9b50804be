"""Classification of tensors: generated, copied, or required to be equal.

Floating-point and complex tensors of any size are generated: gates, biases of a single output and
logit scales are parameters. Counters are copied from a stated checkpoint. Everything else must be
equal in all checkpoints, because interpolated values have no meaning: codes of quantized weights,
masks, indices. The same holds for tensors that depend on others: vectors of a spectral norm,
ranges of an observer. The authors' code also copies tensors with one element; a selection without
them does the same.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

GENERATED_TYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.complex64,
        torch.complex128,
    )
}
"""Generated types by name; a complex number is generated as two real ones."""

_COUNTER = "num_batches_tracked"
_COUNTING_TYPES = (torch.int16, torch.int32, torch.int64)
_NO_COUNTER = re.compile("zero_?point|init|bits|mask|flag|enabled|scale|shift|seed|index")
"""Names of single integers that say how to read other tensors and cannot be copied."""
_SPECTRAL = re.compile(r"(?P<path>(?:.*\.)?parametrizations\.[^.]+)\.\d+\._[uv]|(?P<stem>.*)_[uv]")
_RANGE = re.compile(r"(?:.*\.)?(?:min|max)_vals?")

SAVE_AGAIN = "or name a checkpoint that all networks take them from (--base-checkpoint FILE)"


def is_generated(name: str, tensor: Tensor) -> bool:
    """Check if a tensor can be part of the parameter vector."""
    is_known = tensor.dtype in GENERATED_TYPES.values()
    return is_known and _COUNTER not in name and tensor.numel() > 0


def is_counter(name: str, tensor: Tensor) -> bool:
    """Check if a tensor is a counter, for which any checkpoint's value will do."""
    if _COUNTER in name or not tensor.numel():
        return True
    is_single = tensor.dtype in _COUNTING_TYPES and tensor.numel() == 1
    return is_single and not _NO_COUNTER.search(name.rpartition(".")[2])


def is_infinite_mask(tensor: Tensor) -> bool:
    """Check if a tensor holds only zeros and infinities, as attention masks do."""
    if tensor.is_meta or not tensor.is_floating_point() or not tensor.isinf().any():
        return False
    return bool((tensor.isinf() | (tensor == 0)).all())


def is_binary(tensor: Tensor) -> bool:
    """Check if a floating-point tensor holds only zeros and ones."""
    return tensor.is_floating_point() and bool(((tensor == 0) | (tensor == 1)).all())


def reason_not_generated(
    name: str, names: Collection[str], tensor: Tensor, *, is_mask: bool
) -> str | None:
    """Explain why a tensor that differs between checkpoints can be neither generated nor copied.

    Args:
        name: name of the tensor.
        names: names of all tensors.
        tensor: its value in one checkpoint.
        is_mask: True if it holds only zeros and ones in every checkpoint.

    Returns:
        The reason and the remedy as a clause; None if it can be generated or copied.
    """
    if is_counter(name, tensor):
        return None
    if not is_generated(name, tensor):
        kind = str(tensor.dtype).removeprefix("torch.")
        if tensor.is_complex():
            return f"it holds {kind}: save it as complex64"
        if tensor.dtype == torch.bool:
            return f"it is a mask ({kind}) without intermediate values: keep it fixed in training"
        return (
            f"it holds codes or indices ({kind}) without intermediate values: save the weights "
            "dequantized, in floating point"
        )
    if is_mask:
        return (
            "it is a mask of zeros and ones without intermediate values: make pruning permanent "
            "(torch.nn.utils.prune.remove) and save again"
        )
    if _is_spectral_vector(name, names):
        return (
            "it depends on the weight whose spectral norm it estimates: remove the norm "
            "(torch.nn.utils.parametrize.remove_parametrizations, or remove_spectral_norm) and "
            "save again"
        )
    if _RANGE.fullmatch(name):
        return (
            "it is a range measured by a quantization observer: save the network without its "
            "observers"
        )
    return None


def _is_spectral_vector(name: str, names: Collection[str]) -> bool:
    found = _SPECTRAL.fullmatch(name)
    if found is None:
        return False
    weight = f"{found['path']}.original" if found["stem"] is None else f"{found['stem']}_orig"
    return weight in names


class TieFinder:
    """Search for tied tensors: equal under several names in all checkpoints, and not constant.

    Args:
        first: tensors of the first checkpoint.
    """

    def __init__(self, first: Mapping[str, Tensor]) -> None:
        alike: dict[tuple, list[str]] = defaultdict(list)
        for name, tensor in first.items():
            if is_generated(name, tensor):
                alike[tensor.dtype, tuple(tensor.shape), _ends(tensor)].append(name)
        self._first = first
        self._sets = [part for names in alike.values() for part in _equal(names, first)]
        self._moved: set[str] = set()

    @property
    def is_final(self) -> bool:
        """True if no further checkpoint can change the result."""
        return not self._sets

    def update(self, tensors: Mapping[str, Tensor]) -> None:
        """Compare another checkpoint; names that it lacks are no longer tied."""
        self._sets = [
            part
            for names in self._sets
            for part in _equal([name for name in names if name in tensors], tensors)
        ]
        for source, *_ in self._sets:
            if not torch.equal(self._first[source], tensors[source]):
                self._moved.add(source)

    @property
    def ties(self) -> dict[str, str]:
        """Further names of tied tensors, each with the first name."""
        return {
            name: source
            for source, *others in self._sets
            if source in self._moved
            for name in others
        }


def _ends(tensor: Tensor) -> tuple:
    """Compute a cheap fingerprint."""
    flat = tensor.reshape(-1)
    return flat[0].item(), flat[-1].item(), flat[len(flat) // 2].item()


def _equal(names: list[str], tensors: Mapping[str, Tensor]) -> list[list[str]]:
    """Group names of equal tensors, in order, into sets of two or more."""
    sets: list[list[str]] = []
    for name in names:
        same = next((one for one in sets if torch.equal(tensors[one[0]], tensors[name])), None)
        if same is None:
            sets.append([name])
        else:
            same.append(name)
    return [one for one in sets if len(one) > 1]
