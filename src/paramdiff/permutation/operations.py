"""What each operation of torch says about units: which it ties, which it leads to new ones.

Labels have the shape of the value that they describe, so that whatever only moves elements
(views, slices, concatenations) is the operation itself, on labels. The rest is told here; what is
not told is refused, unless no unit enters.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from paramdiff.permutation.channels import FIXED, Units, Weight

Operation = Callable[[Units, dict[str, Any], torch.Size], Tensor]
"""Units, arguments by name with labels for tensors, and the shape of the result, to its labels."""

MOVING = frozenset(
    "chunk clone contiguous detach expand expand_as flatten flip getitem lift_fresh_copy movedim "
    "narrow permute pixel_shuffle pixel_unshuffle repeat reshape roll select slice split "
    "split_with_sizes squeeze t transpose unbind unflatten unsqueeze view".split()
)
"""Operations that only move elements, and mean the same on labels."""

SCALAR = frozenset(
    "_to_copy abs alias alpha_dropout celu clamp clamp_min clamp_max dropout elu erf exp "
    "feature_dropout gelu hardsigmoid hardswish hardtanh leaky_relu log log_sigmoid mish neg pow "
    "reciprocal relu relu6 rsqrt selu sigmoid silu softplus softsign sqrt square tanh "
    "tanhshrink to".split()
)
"""Functions of one element."""


CHECKS = frozenset({"_assert_tensor_metadata"})
"""What computes nothing; before every cast."""


def combined(units: Units, *operands: Any) -> Tensor:
    """A function of several elements: units are tied where they meet.

    A value that is the same for all units of the other operand (a gate, a temperature) ties
    nothing, but has no equals among its own kind.
    """
    labels = [elements(units, one) for one in operands if isinstance(one, Tensor | Weight)]
    result = labels[0]
    for other in labels[1:]:
        if _is_shared(units, result, other):
            result, other = other, result
        if _is_shared(units, other, result):
            units.own(units.of(other).unique()[:, None])
            result = result.expand(torch.broadcast_shapes(result.shape, other.shape))
            continue
        units.tie(result, other)
        result = torch.broadcast_tensors(result, other)[0]
    return result


def elements(units: Units, value: Tensor | Weight) -> Tensor:
    """The labels of a value or of a tensor of the checkpoint, element by element."""
    return value.elementwise(units) if isinstance(value, Weight) else value


def _is_shared(units: Units, value: Tensor, other: Tensor) -> bool:
    """Whether a value is one number for all units of another operand."""
    if len(units.of(value).unique()) > 1:
        return False
    lacking = other.dim() - value.dim()
    return all(
        dim < lacking or value.shape[dim - lacking] == 1
        for dim in range(other.dim())
        if units.vary(other, dim)
    )


def _elementwise(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    return combined(units, *given.values()).expand(shape)


def _linear(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x, weight, bias = given["input"], given["weight"], given.get("bias")
    others = tuple(range(x.dim() - 1))
    if not units.vary(x, x.dim() - 1) and any(units.vary(x, dim) for dim in others):
        # it mixes positions, each unit by itself; positions cannot move
        for one in (weight, bias):
            if one is not None:
                one.connect(units, torch.full((1,) * len(one.shape), FIXED))
        return x.narrow(-1, 0, 1).expand(shape)
    inputs, rows = units.even(x, others).flatten(), weight.rows(units, 0)
    weight.connect(units, rows[:, None], inputs[None])
    return combined(units, rows, bias).expand(shape)


def _convolution(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x, weight, groups = given["input"], given["weight"], given.get("groups", 1)
    num_spatial = len(weight.shape) - 2
    inputs = units.even(x, (0, *range(2, x.dim()))).flatten()
    num_outputs, num_inputs = weight.shape[:2]
    beyond = (1,) * num_spatial
    if groups == len(inputs) == num_outputs:
        rows = inputs
        weight.connect(units, rows.view(-1, 1, *beyond))
    else:
        rows = weight.rows(units, 0)
        blocks = inputs.view(groups, num_inputs)
        per_output = blocks.repeat_interleave(num_outputs // groups, 0)
        if groups == 1:
            per_output = per_output[:1]
        else:
            units.own(torch.cat([blocks, rows.view(groups, -1)], 1))
        columns = per_output.view(*per_output.shape, *beyond)
        weight.connect(units, rows.view(-1, 1, *beyond), columns)
    return combined(units, rows, given.get("bias")).view(1, -1, *beyond).expand(shape)


def _normalize_channels(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x = given["input"]
    for name in ("weight", "bias", "running_mean", "running_var"):
        one = given.get(name)
        if one is not None:
            units.tie(x, elements(units, one).view(-1, *(1,) * (x.dim() - 2)))
    return x


def _group_norm(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    channels = units.even(given["input"], (0, *range(2, given["input"].dim())))
    units.own(channels.reshape(given["num_groups"], -1))
    return _normalize_channels(units, {**given, "input": channels}, shape).expand(shape)


def _layer_norm(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x, num_dims = given["input"], len(given["normalized_shape"])
    scaled = combined(units, x, given.get("weight"), given.get("bias"))
    units.own(scaled.reshape(-1, x.shape[-num_dims:].numel()))
    return scaled


def _prelu(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x, slopes = given["self"], elements(units, given["weight"])
    return combined(units, x, slopes.view(-1, *(1,) * (x.dim() - 2)))


def _softmax(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x, dim = given["input"] if "input" in given else given["self"], given["dim"]
    if units.vary(x, dim):
        units.own(x.movedim(dim, -1).reshape(-1, x.shape[dim]))
    return x


def _reduce(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x = given["self"]
    chosen = given.get("dim")
    dims = range(x.dim()) if chosen is None else [chosen] if isinstance(chosen, int) else chosen
    dims = tuple(sorted(dim % x.dim() for dim in dims))
    if not any(units.vary(x, dim) for dim in dims):
        return units.even(x, dims).reshape(shape)
    rows = x.movedim(dims, tuple(range(-len(dims), 0))).flatten(-len(dims))
    return units.own(rows.reshape(-1, rows.shape[-1])).reshape(shape)


def _pool(num_spatial: int) -> Operation:
    def apply(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
        x = given["self"] if "self" in given else given["input"]
        return units.even(x, tuple(range(x.dim() - num_spatial, x.dim()))).expand(shape)

    return apply


def _pad(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x, amounts = given["self"], given["pad"]
    for number in range(len(amounts) // 2):
        dim = x.dim() - 1 - number
        x = _pad_one(units, x, dim, amounts[2 * number], amounts[2 * number + 1])
    return x


def _pad_one(units: Units, x: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Positions are padded with positions, units with new units that are constant."""

    def side(size: int) -> Tensor:
        if not units.vary(x, dim):
            return x.narrow(dim, 0, 1).expand([*x.shape[:dim], size, *x.shape[dim + 1 :]])
        alone = [1] * dim + [size] + [1] * (x.dim() - dim - 1)
        return units.fresh(*alone).expand([*x.shape[:dim], size, *x.shape[dim + 1 :]])

    start, stop = max(0, -before), x.shape[dim] - max(0, -after)
    parts = [side(max(0, before)), x.narrow(dim, start, stop - start), side(max(0, after))]
    return torch.cat(parts, dim)


def _cat(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    parts = [elements(units, one) for one in given["tensors"]]
    return torch.cat(parts, given.get("dim", 0))


def _stack(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    parts = [elements(units, one) for one in given["tensors"]]
    return torch.stack(parts, given.get("dim", 0))


def _contract(units: Units, left: Tensor, right: Tensor) -> Tensor:
    """``[..., m, k] @ [..., k, n]``: a sum over units, or over positions as in attention."""
    shape = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    size = (*shape, left.shape[-2], right.shape[-1])
    left = left.expand(*shape, *left.shape[-2:])
    right = right.expand(*shape, *right.shape[-2:])
    if units.vary(left, -1) or units.vary(right, -2):
        rows = units.even(left, (-2,))[..., 0, :]
        units.tie(rows, units.even(right, (-1,))[..., 0])
        owners = units.own(rows.reshape(-1, rows.shape[-1]))
        return owners.view(*shape, 1, 1).expand(size)
    weights, values = units.even(left, (-2, -1)), units.even(right, (-2,))
    if units.of(weights).any():
        units.own(values.reshape(-1, values.shape[-1]), weights.reshape(-1))
    return values.expand(size)


def _matmul(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    left, right = list(given.values())[:2]
    if isinstance(left, Tensor) and isinstance(right, Weight) and len(right.shape) == 2:
        inputs, rows = units.even(left, tuple(range(left.dim() - 1))), right.rows(units, 1)
        right.connect(units, rows[None], inputs.reshape(-1, 1))
        return rows.expand(shape)
    return _contract(units, elements(units, left), elements(units, right))


def _attention(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    query, key, value, mask = (given.get(n) for n in ("query", "key", "value", "attn_mask"))
    assert isinstance(query, Tensor) and isinstance(key, Tensor) and isinstance(value, Tensor)
    weights = _contract(units, query, key.transpose(-2, -1))
    return _contract(units, combined(units, weights, mask), value)


def _embedding(units: Units, given: dict[str, Any], shape: torch.Size) -> Tensor:
    columns = units.fresh(1, given["weight"].shape[1])
    given["weight"].connect(units, columns)
    return columns[0].expand(shape)


def _names(operation: Operation, names: str) -> dict[str, Operation]:
    return dict.fromkeys(names.split(), operation)


OPERATIONS: dict[str, Operation] = {
    "linear": _linear,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "scaled_dot_product_attention": _attention,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "cat": _cat,
    "concat": _cat,
    "stack": _stack,
    "embedding": _embedding,
    "prelu": _prelu,
    **_names(_convolution, "conv1d conv2d conv3d"),
    **_names(_normalize_channels, "batch_norm instance_norm"),
    **_names(_softmax, "softmax log_softmax"),
    **_names(_reduce, "mean sum amax amin var std"),
    **_names(_matmul, "matmul bmm mm"),
    **_names(_elementwise, "add sub mul div maximum minimum rsub where"),
    **_names(_pool(1), "max_pool1d avg_pool1d adaptive_avg_pool1d adaptive_max_pool1d"),
    **_names(
        _pool(2),
        "max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d upsample_nearest2d "
        "upsample_bilinear2d upsample_bicubic2d",
    ),
}
"""Operation to what it says about units; names as torch has them."""
