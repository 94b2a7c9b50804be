"""State dict to vector and back, bit for bit."""

import json
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout, is_copied_verbatim

FLOATING = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGER = [torch.uint8, torch.int32, torch.int64, torch.bool]


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def finite_bits(shape, dtype, generator):
    """Every finite bit pattern may occur: subnormal numbers, negative zero and the largest."""
    size = math.prod(shape) * dtype.itemsize
    raw = torch.randint(0, 256, (size,), generator=generator, dtype=torch.uint8)
    tensor = raw.view(dtype).view(shape)
    return torch.where(torch.isfinite(tensor), tensor, -torch.zeros(shape, dtype=dtype))


@st.composite
def state_dicts(draw):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    state = {}
    for number in range(draw(st.integers(1, 7))):
        shape = tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
        dtype = draw(st.sampled_from([*FLOATING, *INTEGER]))
        suffix = draw(st.sampled_from(["weight", "running_var", "num_batches_tracked"]))
        if dtype in FLOATING:
            value = finite_bits(shape, dtype, generator)
        else:
            value = torch.randint(0, 2, shape, generator=generator).to(dtype)
        state[f"{number}.{suffix}"] = value
    return state


def generable(state):
    return [
        name
        for name, tensor in state.items()
        if tensor.dtype in FLOATING and tensor.numel() > 1 and "num_batches" not in name
    ]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(state_dicts())
def test_flatten_and_unflatten_are_exact(state):
    expected = generable(state)
    assume(expected)
    layout = ParameterLayout.of(state, list(state))
    assert list(layout.names) == expected
    vector = layout.flatten(state)
    assert vector.shape == (layout.num_parameters,)
    assert layout.num_parameters == sum(state[name].numel() for name in expected)
    found = layout.unflatten(vector)
    assert list(found) == expected
    for name in expected:
        assert found[name].dtype == state[name].dtype
        assert found[name].shape == state[name].shape
        assert bits(found[name]).equal(bits(state[name])), name
    has_double = any(state[name].dtype == torch.float64 for name in expected)
    assert vector.dtype == (torch.float64 if has_double else torch.float32)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(state_dicts())
def test_json_is_the_identity(state):
    assume(generable(state))
    layout = ParameterLayout.of(state, list(state))
    assert ParameterLayout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


@settings(max_examples=50, deadline=None, derandomize=True)
@given(state_dicts())
def test_slots_tile_the_vector_in_order(state):
    assume(generable(state))
    layout = ParameterLayout.of(state, list(state))
    borders = [0, *(slot.stop for slot in layout.slots)]
    assert [slot.start for slot in layout.slots] == borders[:-1]
    assert borders[-1] == layout.num_parameters
    marked = torch.arange(layout.num_parameters, dtype=layout.dtype)
    for slot in layout.slots:
        assert marked[slot.start : slot.stop].numel() == math.prod(slot.shape)


@pytest.mark.parametrize(
    ("name", "tensor", "is_copied"),
    [
        ("weight", torch.ones(2), False),
        ("weight", torch.ones(2, dtype=torch.bfloat16), False),
        ("scale", torch.ones(1), True),
        ("scale", torch.tensor(1.0), True),
        ("nothing", torch.ones(0, 3), True),
        ("index", torch.ones(4, dtype=torch.int64), True),
        ("spectrum", torch.ones(4, dtype=torch.complex64), True),
        ("tiny", torch.ones(4, dtype=torch.float8_e4m3fn), True),
        ("bn.num_batches_tracked", torch.ones(4), True),
    ],
)
def test_what_is_copied_verbatim(name, tensor, is_copied):
    assert is_copied_verbatim(name, tensor) == is_copied


STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.arange(2.0)}
LAYOUT = ParameterLayout.of(STATE, list(STATE))


def refusal(state):
    with pytest.raises(UserError) as caught:
        LAYOUT.flatten(state, "some/file.pt")
    message = str(caught.value)
    assert message.startswith("some/file.pt: tensor 'a.bias'")
    return message


def test_flattening_follows_the_order_and_leaves_other_names_alone():
    assert LAYOUT.flatten({"z": torch.ones(3), **STATE}).tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert LAYOUT.flatten(dict(reversed(STATE.items()))).equal(LAYOUT.flatten(STATE))


def test_a_missing_tensor_is_named():
    assert "missing" in refusal({"a.weight": STATE["a.weight"]})


def test_another_shape_is_told():
    message = refusal({**STATE, "a.bias": torch.ones(2, 1)})
    assert "[2, 1]" in message
    assert "[2]" in message


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_are_counted(bad):
    message = refusal({**STATE, "a.bias": torch.tensor([bad, bad])})
    assert "2 NaN or infinite" in message
    assert "1 NaN or infinite" in refusal({**STATE, "a.bias": torch.tensor([bad, 1.0])})


def test_nothing_to_generate():
    state = {"scale": torch.ones(1), "bn.num_batches_tracked": torch.tensor(3)}
    with pytest.raises(UserError, match=r"nothing to generate.*scale, bn\.num_batches_tracked"):
        ParameterLayout.of(state, list(state))


def test_a_vector_of_another_length_is_our_own_mistake():
    with pytest.raises(AssertionError):
        LAYOUT.unflatten(torch.ones(9))


def test_gradients_do_not_travel():
    weight = torch.nn.Parameter(torch.ones(2))
    layout = ParameterLayout.of({"w": weight}, ["w"])
    assert not layout.flatten({"w": weight}).requires_grad
