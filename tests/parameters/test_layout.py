"""State dict to vector and back, bit for bit."""

import json
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout

FLOATING = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
COMPLEX = [torch.complex64, torch.complex128]
INTEGER = [torch.uint8, torch.int32, torch.int64, torch.bool]


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


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
        dtype = draw(st.sampled_from([*FLOATING, *COMPLEX, *INTEGER]))
        suffix = draw(st.sampled_from(["weight", "running_var", "num_batches_tracked"]))
        if dtype in FLOATING:
            value = finite_bits(shape, dtype, generator)
        elif dtype in COMPLEX:
            value = torch.view_as_complex(finite_bits((*shape, 2), dtype.to_real(), generator))
        else:
            value = torch.randint(0, 2, shape, generator=generator).to(dtype)
        state[f"{number}.{suffix}"] = value
    return state


def real_size(tensor):
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def generable(state):
    return [
        name
        for name, tensor in state.items()
        if tensor.dtype in FLOATING + COMPLEX and "num_batches" not in name
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
    assert layout.num_parameters == sum(real_size(state[name]) for name in expected)
    found = layout.unflatten(vector)
    assert list(found) == expected
    for name in expected:
        assert found[name].dtype == state[name].dtype
        assert found[name].shape == state[name].shape
        assert bits(found[name]).equal(bits(state[name])), name
    has_double = any(state[name].dtype.to_real() == torch.float64 for name in expected)
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
        assert marked[slot.start : slot.stop].numel() == real_size(state[slot.name])


def test_tensors_of_one_element_are_in_the_vector():
    state = {"gate": torch.ones(1), "logit_scale": torch.tensor(4.6), "out.bias": torch.ones(1)}
    layout = ParameterLayout.of(state, list(state))
    assert layout.names == ("gate", "logit_scale", "out.bias")
    vector = layout.flatten(state)
    torch.testing.assert_close(vector, torch.tensor([1.0, 4.6, 1.0]))
    assert layout.unflatten(vector)["logit_scale"].shape == ()


def test_shared_memory_is_one_tensor():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    network[1].weight = network[0].weight
    state = network.state_dict()
    layout = ParameterLayout.of(state, list(state))
    assert layout.ties == (("1.weight", "0.weight"),)
    assert layout.num_parameters == 4 + 2 + 2
    assert set(layout.names) == set(state)
    found = layout.unflatten(layout.flatten(state) + 1)
    assert found["1.weight"] is found["0.weight"]
    assert ParameterLayout.from_json(layout.to_json(), layout.ties) == layout
    meta = {name: torch.empty(tensor.shape, device="meta") for name, tensor in state.items()}
    assert not ParameterLayout.of(meta, list(meta)).ties


def test_slices_of_one_memory_are_tensors_of_their_own():
    whole = torch.arange(6.0)
    state = {"q": whole[:3], "k": whole[3:], "all": whole}
    assert not ParameterLayout.of(state, list(state)).ties


def test_what_is_one_tensor_must_stay_one():
    state = {"a": torch.ones(2), "b": torch.ones(2)}
    layout = ParameterLayout.of(state, list(state), {"b": "a"})
    assert layout.flatten({"a": state["a"]}).tolist() == [1, 1]  # one name is enough
    with pytest.raises(
        UserError, match=r"c\.pt: tensor 'b' differs from 'a', to which it is tied"
    ):
        layout.flatten(state | {"b": torch.zeros(2)}, "c.pt")


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [(torch.float16, 65504), (torch.bfloat16, torch.finfo(torch.bfloat16).max)],
)
def test_values_beyond_a_type_become_its_largest_and_are_told(dtype, largest):
    state = {"a": torch.zeros(2, dtype=dtype)}
    layout = ParameterLayout.of(state, ["a"])
    vector = torch.full((layout.num_parameters,), torch.finfo(torch.float32).max)
    vector[0] = -vector[0]
    with pytest.warns(
        UserWarning, match=f"{len(vector)} values of a lie beyond .* are clipped to it"
    ):
        found = layout.unflatten(vector)["a"]
    assert found[0] == -largest and found[1:].eq(largest).all()
    assert torch.isfinite(layout.unflatten(torch.full_like(vector, 65000.0))["a"]).all()


def test_float64_tensors_beside_others_survive():
    state = {"a": torch.tensor([1e300, 1e6 + 1e-9], dtype=torch.float64), "b": torch.ones(2)}
    layout = ParameterLayout.of(state, ["a", "b"])
    assert layout.unflatten(layout.flatten(state))["a"].equal(state["a"])
    with pytest.warns(UserWarning, match="1 values of b lie beyond"):
        found = layout.unflatten(torch.tensor([0, 0, 1e300, 1], dtype=torch.float64))
    assert torch.isfinite(found["b"]).all()


def test_masks_of_attention_are_copied():
    mask = torch.full((3, 3), -torch.inf).triu(1)
    assert ParameterLayout.of({"mask": mask, "w": torch.ones(2)}, ["mask", "w"]).names == ("w",)


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
    state = {"codes": torch.ones(3).char(), "bn.num_batches_tracked": torch.tensor(3)}
    with pytest.raises(UserError, match=r"nothing to generate.*codes, bn\.num_batches_tracked"):
        ParameterLayout.of(state, list(state))


def test_a_vector_of_another_length_is_our_own_mistake():
    with pytest.raises(AssertionError):
        LAYOUT.unflatten(torch.ones(9))


def test_gradients_do_not_travel():
    weight = torch.nn.Parameter(torch.ones(2))
    layout = ParameterLayout.of({"w": weight}, ["w"])
    assert not layout.flatten({"w": weight}).requires_grad
