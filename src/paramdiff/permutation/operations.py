"""Rules by which torch operations propagate channel labels.

Labels have the shape of the value that they describe, so an operation that only moves elements
(views, slices, concatenations) is applied to the labels themselves. Every other supported
operation has a rule below; an unsupported one is refused unless none of its inputs has channels.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from paramdiff.permutation.channels import FIXED, ChannelLabels, ParamAxes

Operation = Callable[[ChannelLabels, dict[str, Any], torch.Size], Tensor]
"""From channel labels, named arguments (labels for tensors) and output shape to output labels."""

MOVING = frozenset(
    "chunk clone contiguous detach expand expand_as flatten flip getitem lift_fresh_copy movedim "
    "narrow permute pixel_shuffle pixel_unshuffle repeat reshape roll select slice split "
    "split_with_sizes squeeze t transpose unbind unflatten unsqueeze view".split()
)
"""Operations that only move elements and are applied to labels unchanged."""

SCALAR = frozenset(
    "_to_copy abs alias alpha_dropout celu clamp clamp_min clamp_max dropout elu erf exp "
    "feature_dropout gelu hardsigmoid hardswish hardtanh leaky_relu log log_sigmoid mish neg pow "
    "reciprocal relu relu6 rsqrt selu sigmoid silu softplus softsign sqrt square tanh "
    "tanhshrink to".split()
)
"""Elementwise functions of one operand."""


CHECKS = frozenset({"_assert_tensor_metadata"})
"""Assertions without a result, exported before every cast."""


def combined(channels: ChannelLabels, *operands: Any) -> Tensor:
    """Combine operands elementwise and tie the channels that meet.

    A value shared by all channels of the other operand (a gate, a temperature) ties nothing, but
    is not interchangeable with other such values.
    """
    labels = [elements(channels, one) for one in operands if isinstance(one, Tensor | ParamAxes)]
    result = labels[0]
    for other in labels[1:]:
        if _is_shared(channels, result, other):
            result, other = other, result
        if _is_shared(channels, other, result):
            channels.reduce_over(channels.resolve(other).unique()[:, None])
            result = result.expand(torch.broadcast_shapes(result.shape, other.shape))
            continue
        channels.tie(result, other)
        result = torch.broadcast_tensors(result, other)[0]
    return result


def elements(channels: ChannelLabels, value: Tensor | ParamAxes) -> Tensor:
    """Return the labels of a value, or of a parameter, element by element."""
    return value.elementwise(channels) if isinstance(value, ParamAxes) else value


def _is_shared(channels: ChannelLabels, value: Tensor, other: Tensor) -> bool:
    """Check if a value is one number for all channels of another operand."""
    if len(channels.resolve(value).unique()) > 1:
        return False
    lacking = other.dim() - value.dim()
    return all(
        dim < lacking or value.shape[dim - lacking] == 1
        for dim in range(other.dim())
        if channels.vary(other, dim)
    )


def _elementwise(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    return combined(channels, *given.values()).expand(shape)


def _linear(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x, weight, bias = given["input"], given["weight"], given.get("bias")
    others = tuple(range(x.dim() - 1))
    if not channels.vary(x, x.dim() - 1) and any(channels.vary(x, dim) for dim in others):
        # it mixes positions within each channel; positions cannot be permuted
        for one in (weight, bias):
            if one is not None:
                one.connect(channels, torch.full((1,) * len(one.shape), FIXED))
        return x.narrow(-1, 0, 1).expand(shape)
    inputs, rows = channels.unify(x, others).flatten(), weight.rows(channels, 0)
    weight.connect(channels, rows[:, None], inputs[None])
    return combined(channels, rows, bias).expand(shape)


def _convolution(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x, weight, groups = given["input"], given["weight"], given.get("groups", 1)
    num_spatial = len(weight.shape) - 2
    inputs = channels.unify(x, (0, *range(2, x.dim()))).flatten()
    num_outputs, num_inputs = weight.shape[:2]
    beyond = (1,) * num_spatial
    if groups == len(inputs) == num_outputs:
        rows = inputs
        weight.connect(channels, rows.view(-1, 1, *beyond))
    else:
        rows = weight.rows(channels, 0)
        blocks = inputs.view(groups, num_inputs)
        per_output = blocks.repeat_interleave(num_outputs // groups, 0)
        if groups == 1:
            per_output = per_output[:1]
        else:
            channels.reduce_over(torch.cat([blocks, rows.view(groups, -1)], 1))
        columns = per_output.view(*per_output.shape, *beyond)
        weight.connect(channels, rows.view(-1, 1, *beyond), columns)
    return combined(channels, rows, given.get("bias")).view(1, -1, *beyond).expand(shape)


def _normalize_channels(
    channels: ChannelLabels, given: dict[str, Any], shape: torch.Size
) -> Tensor:
    x = given["input"]
    for name in ("weight", "bias", "running_mean", "running_var"):
        one = given.get(name)
        if one is not None:
            channels.tie(x, elements(channels, one).view(-1, *(1,) * (x.dim() - 2)))
    return x


def _group_norm(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x = channels.unify(given["input"], (0, *range(2, given["input"].dim())))
    channels.reduce_over(x.reshape(given["num_groups"], -1))
    return _normalize_channels(channels, {**given, "input": x}, shape).expand(shape)


def _layer_norm(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x, num_dims = given["input"], len(given["normalized_shape"])
    scaled = combined(channels, x, given.get("weight"), given.get("bias"))
    channels.reduce_over(scaled.reshape(-1, x.shape[-num_dims:].numel()))
    return scaled


def _prelu(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x, slopes = given["self"], elements(channels, given["weight"])
    return combined(channels, x, slopes.view(-1, *(1,) * (x.dim() - 2)))


def _softmax(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x, dim = given["input"] if "input" in given else given["self"], given["dim"]
    if channels.vary(x, dim):
        channels.reduce_over(x.movedim(dim, -1).reshape(-1, x.shape[dim]))
    return x


def _reduce(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x = given["self"]
    chosen = given.get("dim")
    dims = range(x.dim()) if chosen is None else [chosen] if isinstance(chosen, int) else chosen
    dims = tuple(sorted(dim % x.dim() for dim in dims))
    if not any(channels.vary(x, dim) for dim in dims):
        return channels.unify(x, dims).reshape(shape)
    rows = x.movedim(dims, tuple(range(-len(dims), 0))).flatten(-len(dims))
    return channels.reduce_over(rows.reshape(-1, rows.shape[-1])).reshape(shape)


def _pool(num_spatial: int) -> Operation:
    def apply(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
        x = given["self"] if "self" in given else given["input"]
        return channels.unify(x, tuple(range(x.dim() - num_spatial, x.dim()))).expand(shape)

    return apply


def _pad(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    x, amounts = given["self"], given["pad"]
    for number in range(len(amounts) // 2):
        dim = x.dim() - 1 - number
        x = _pad_one(channels, x, dim, amounts[2 * number], amounts[2 * number + 1])
    return x


def _pad_one(channels: ChannelLabels, x: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Pad positions with positions, and channels with new constant channels."""

    def side(size: int) -> Tensor:
        if not channels.vary(x, dim):
            return x.narrow(dim, 0, 1).expand([*x.shape[:dim], size, *x.shape[dim + 1 :]])
        alone = [1] * dim + [size] + [1] * (x.dim() - dim - 1)
        return channels.fresh(*alone).expand([*x.shape[:dim], size, *x.shape[dim + 1 :]])

    start, stop = max(0, -before), x.shape[dim] - max(0, -after)
    parts = [side(max(0, before)), x.narrow(dim, start, stop - start), side(max(0, after))]
    return torch.cat(parts, dim)


def _cat(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    parts = [elements(channels, one) for one in given["tensors"]]
    return torch.cat(parts, given.get("dim", 0))


def _stack(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    parts = [elements(channels, one) for one in given["tensors"]]
    return torch.stack(parts, given.get("dim", 0))


def _contract(channels: ChannelLabels, left: Tensor, right: Tensor) -> Tensor:
    """Propagate ``[..., m, k] @ [..., k, n]``, a sum over channels or positions (attention)."""
    shape = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    size = (*shape, left.shape[-2], right.shape[-1])
    left = left.expand(*shape, *left.shape[-2:])
    right = right.expand(*shape, *right.shape[-2:])
    if channels.vary(left, -1) or channels.vary(right, -2):
        rows = channels.unify(left, (-2,))[..., 0, :]
        channels.tie(rows, channels.unify(right, (-1,))[..., 0])
        owners = channels.reduce_over(rows.reshape(-1, rows.shape[-1]))
        return owners.view(*shape, 1, 1).expand(size)
    weights, values = channels.unify(left, (-2, -1)), channels.unify(right, (-2,))
    if channels.resolve(weights).any():
        channels.reduce_over(values.reshape(-1, values.shape[-1]), weights.reshape(-1))
    return values.expand(size)


def _matmul(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    left, right = list(given.values())[:2]
    if isinstance(left, Tensor) and isinstance(right, ParamAxes) and len(right.shape) == 2:
        inputs, rows = channels.unify(left, tuple(range(left.dim() - 1))), right.rows(channels, 1)
        right.connect(channels, rows[None], inputs.reshape(-1, 1))
        return rows.expand(shape)
    return _contract(channels, elements(channels, left), elements(channels, right))


def _attention(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    query, key, value, mask = (given.get(n) for n in ("query", "key", "value", "attn_mask"))
    assert isinstance(query, Tensor) and isinstance(key, Tensor) and isinstance(value, Tensor)
    weights = _contract(channels, query, key.transpose(-2, -1))
    return _contract(channels, combined(channels, weights, mask), value)


def _embedding(channels: ChannelLabels, given: dict[str, Any], shape: torch.Size) -> Tensor:
    columns = channels.fresh(1, given["weight"].shape[1])
    given["weight"].connect(channels, columns)
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
"""Operations by torch's names, with their rules."""
