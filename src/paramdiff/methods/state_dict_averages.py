"""Averages of state dicts, or of safetensors files, one tensor at a time.

Floating-point and complex tensors are combined in double precision and keep their type; counters
are those of the last state dict; all others must be equal. Tensors that share memory in the first
state dict share it in the result. Statistics of BatchNorm are averaged like all others: estimate
them anew with ``torch.optim.swa_utils.update_bn``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from safetensors import safe_open
from torch import Tensor

from paramdiff.checkpoints.tensor_kinds import is_counter, is_generated
from paramdiff.errors import UserError
from paramdiff.methods.combinations import (
    decay_weights,
    ema_weights,
    karcher_weights,
    power_weights,
    slerp_weights,
    stock_ratio,
)
from paramdiff.storage import StrPath

Source = Mapping[str, Tensor] | StrPath
"""A state dict, or the path of a safetensors file."""
Get = Callable[[str], Tensor]


def average(
    sources: Sequence[Source], weights: Sequence[float] | None = None
) -> dict[str, Tensor]:
    """Average state dicts.

    Args:
        sources: state dicts or safetensors files of one network.
        weights: one of each, which are divided by their sum; equal ones by default.

    Returns:
        The average.

    Raises:
        UserError: there are none, or not one weight of each; names or shapes differ, or a tensor
            that cannot be averaged does.
    """
    if weights is not None and len(weights) != len(sources):
        raise UserError(f"there are {len(weights)} weights for {len(sources)} state dicts")
    shares = torch.ones(len(sources)) if weights is None else torch.tensor(list(weights))
    return _weighted(sources, shares.double() / shares.sum())


def ema(sources: Sequence[Source], decay: float) -> dict[str, Tensor]:
    """Average state dicts exponentially, in training order, with a decay for each."""
    return _weighted(sources, ema_weights(len(sources), decay))


def power_ema(
    sources: Sequence[Source], steps: Sequence[int], relative_width: float
) -> dict[str, Tensor]:
    """Average state dicts by a power-function window over their training steps.

    Args:
        sources: as for ``average``, in training order; several.
        steps: of each, increasing.
        relative_width: the ``sigma_rel`` of Karras et al. 2024 (arXiv 2312.02696).

    Returns:
        The average.
    """
    return _weighted(sources, power_weights(torch.tensor(list(steps)), relative_width))


def decayed(sources: Sequence[Source], shape: str = "1-sqrt") -> dict[str, Tensor]:
    """Average state dicts as a decay of the learning rate would (Tian et al. 2025).

    Args:
        sources: as for ``average``, in training order, from a constant learning rate.
        shape: ``linear``, ``cosine`` or ``1-sqrt``.

    Returns:
        The average.
    """
    return _weighted(sources, decay_weights(len(sources), shape))


def slerp(first: Source, second: Source, share: float = 0.5) -> dict[str, Tensor]:
    """Interpolate two state dicts spherically, tensor by tensor; see ``average``."""
    pair = torch.tensor([[0, 1]])

    def combine(rows: Tensor) -> Tensor:
        return slerp_weights(rows @ rows.T, pair, share)[0] @ rows

    return _by_tensor([first, second], combine)


def karcher_mean(sources: Sequence[Source]) -> dict[str, Tensor]:
    """Take the Karcher mean of each tensor's directions, with the mean norm; see ``average``."""
    return _by_tensor(sources, lambda rows: karcher_weights(rows @ rows.T) @ rows)


def task_arithmetic(
    base: Source, sources: Sequence[Source], scale: float = 1.0
) -> dict[str, Tensor]:
    """Add ``scale`` times the mean task vector to a base network (Ilharco et al. 2023).

    A scale between 0 and 1 is WiSE-FT (Wortsman et al. 2022). See ``average``.
    """
    share = scale / max(1, len(sources))
    weights = torch.tensor([1 - scale, *[share] * len(sources)], dtype=torch.float64)
    return _weighted([base, *sources], weights)


def model_stock(base: Source, sources: Sequence[Source]) -> dict[str, Tensor]:
    """Go from a base network towards an average by a ratio per tensor (Jang et al. 2024)."""

    def combine(rows: Tensor) -> Tensor:
        tasks = rows[1:] - rows[0]
        return rows[0] + stock_ratio(tasks @ tasks.T) * tasks.mean(0)

    return _by_tensor([base, *sources], combine)


def _weighted(sources: Sequence[Source], weights: Tensor) -> dict[str, Tensor]:
    """Sum one tensor at a time, holding one of a single source."""

    def combine(tensors: Iterator[Tensor]) -> Tensor:
        total = next(tensors) * weights[0]
        for tensor, weight in zip(tensors, weights[1:], strict=True):
            total += weight * tensor
        return total

    return _combined(sources, combine)


def _by_tensor(
    sources: Sequence[Source], combine: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Combine rows ``[N, size]`` of one tensor at a time to ``[size]``."""

    def of_rows(tensors: Iterator[Tensor]) -> Tensor:
        rows = torch.stack(list(tensors))
        return combine(rows.flatten(1)).view(rows.shape[1:])

    return _combined(sources, of_rows)


def _combined(
    sources: Sequence[Source], combine: Callable[[Iterator[Tensor]], Tensor]
) -> dict[str, Tensor]:
    if not sources:
        raise UserError("there is no state dict to average: name at least one")
    with ExitStack() as stack:
        opened = [stack.enter_context(_opened(source)) for source in sources]
        names = opened[0][0]
        for number, (others, _) in enumerate(opened):
            if set(others) != set(names):
                name = min(set(others) ^ set(names))
                raise UserError(
                    f"{_called(sources, number)}: tensor {name!r} is not in all of them"
                )
        result: dict[str, Tensor] = {}
        made: dict[tuple, str] = {}
        for name in names:
            tensors = [partial(get, name) for _, get in opened]
            first = tensors[0]()
            memory = _memory(first) if isinstance(sources[0], Mapping) else (name,)
            if memory in made:
                result[name] = result[made[memory]]
                continue
            made[memory] = name
            result[name] = _one(name, tensors, combine, sources)
    return result


def _one(
    name: str,
    tensors: Sequence[Callable[[], Tensor]],
    combine: Callable[[Iterator[Tensor]], Tensor],
    sources: Sequence[Source],
) -> Tensor:
    """Combine the tensors of one name."""
    first = tensors[0]().detach()
    if is_counter(name, first):
        return tensors[-1]().detach().clone()
    for number, read in enumerate(tensors):
        other = read()
        if other.shape != first.shape:
            raise UserError(
                f"{_called(sources, number)}: tensor {name!r} has shape {list(other.shape)}, "
                f"expected {list(first.shape)}"
            )
        if not is_generated(name, first) and not torch.equal(other, first):
            raise UserError(
                f"{_called(sources, number)}: tensor {name!r} differs, and {first.dtype} cannot "
                "be averaged"
            )
    if not is_generated(name, first):
        return first.clone()
    exact = torch.complex128 if first.is_complex() else torch.float64

    def values() -> Iterator[Tensor]:
        for read in tensors:
            tensor = read().detach().to(exact)
            yield torch.view_as_real(tensor) if tensor.is_complex() else tensor

    found = combine(values())
    return (torch.view_as_complex(found) if first.is_complex() else found).to(first.dtype)


@contextmanager
def _opened(source: Source) -> Iterator[tuple[list[str], Get]]:
    """Open a source; yield its names and a function that reads a tensor."""
    if isinstance(source, Mapping):
        yield list(source), source.__getitem__
        return
    with safe_open(source, framework="pt") as file:
        yield list(file.keys()), file.get_tensor


def _called(sources: Sequence[Source], number: int) -> str:
    source = sources[number]
    return f"state dict {number}" if isinstance(source, Mapping) else str(source)


def _memory(tensor: Tensor) -> tuple:
    """Identify a tensor's memory."""
    return (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
