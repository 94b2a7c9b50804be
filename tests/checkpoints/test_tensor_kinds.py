"""Which tensors are generated, which are copied, and which are neither; and which are one."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from paramdiff.checkpoints.tensor_kinds import (
    TieFinder,
    is_binary,
    is_counter,
    is_generated,
    is_infinite_mask,
    reason_not_generated,
)


@pytest.mark.parametrize(
    ("name", "tensor", "generated", "counter"),
    [
        ("weight", torch.ones(2), True, False),
        ("weight", torch.ones(2, dtype=torch.bfloat16), True, False),
        ("gate", torch.ones(1), True, False),
        ("logit_scale", torch.tensor(4.6), True, False),
        ("step_size", torch.tensor(0.1), True, False),
        ("spectrum", torch.ones(4, dtype=torch.complex64), True, False),
        ("nothing", torch.ones(0, 3), False, True),
        ("bn.num_batches_tracked", torch.tensor(3), False, True),
        ("bn.num_batches_tracked", torch.ones(4), False, True),
        ("n_averaged", torch.tensor(3), False, True),
        ("ema.step", torch.ones(1, dtype=torch.int32), False, True),
        ("position_ids", torch.arange(4), False, False),
        ("qweight", torch.ones(4, dtype=torch.int32), False, False),
        ("fc.zero_point", torch.tensor(3), False, False),
        ("actnorm.initialized", torch.tensor(1), False, False),
        ("actnorm.done", torch.tensor(1, dtype=torch.uint8), False, False),
        ("causal", torch.ones(4, dtype=torch.bool), False, False),
        ("flag", torch.tensor(True), False, False),
        ("tiny", torch.ones(4, dtype=torch.float8_e4m3fn), False, False),
    ],
)
def test_kinds(name, tensor, generated, counter):
    assert is_generated(name, tensor) == generated
    assert is_counter(name, tensor) == counter


def reason(name, state, is_mask=False):
    return reason_not_generated(name, state, state[name], is_mask=is_mask)


def test_weights_and_counters_may_differ():
    network = nn.Sequential(nn.BatchNorm1d(3), nn.PReLU())
    state = network.state_dict()
    assert all(reason(name, state) is None for name in state)


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (torch.ones(4, dtype=torch.int8), "codes or indices (int8)"),
        (torch.ones(4, dtype=torch.uint8), "dequantized"),
        (torch.ones(4, dtype=torch.bool), "mask (bool)"),
    ],
)
def test_codes_and_masks_are_not_generated(tensor, told):
    assert told in reason("weight", {"weight": tensor})


def test_pruned_networks():
    layer = prune.random_unstructured(nn.Linear(9, 9), "weight", 0.5)
    state = layer.state_dict()
    masks = {name for name, tensor in state.items() if is_binary(tensor)}
    assert masks == {"weight_mask"}
    assert "prune.remove" in reason("weight_mask", state, is_mask=True)
    assert reason("weight_orig", state) is None


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("build", [nn.utils.spectral_norm, parametrizations.spectral_norm])
def test_vectors_of_a_spectral_norm_follow_from_the_weight(build):
    state = nn.Sequential(build(nn.Conv2d(2, 3, 2))).state_dict()
    refused = {name for name in state if reason(name, state) is not None}
    assert len(refused) == 2 and all(name.endswith(("_u", "_v")) for name in refused)
    assert all("spectral norm" in reason(name, state) for name in refused)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("build", [nn.utils.weight_norm, parametrizations.weight_norm])
@pytest.mark.parametrize("dim", [0, None])
def test_sizes_and_directions_of_a_weight_norm_are_parameters(build, dim):
    state = build(nn.Linear(2, 3), dim=dim).state_dict()
    assert all(is_generated(*item) and reason(item[0], state) is None for item in state.items())


def test_vectors_that_are_so_called_are_parameters():
    state = {"pos_bias_u": torch.ones(3), "pos_bias_v": torch.ones(3)}
    assert all(reason(name, state) is None for name in state)


@pytest.mark.parametrize("name", ["min_val", "act.observer.max_val", "w.min_vals"])
def test_ranges_of_observers(name):
    assert "observer" in reason(name, {name: torch.ones(1)})


def test_masks_of_attention():
    assert is_infinite_mask(torch.full((3, 3), -torch.inf).triu(1))
    assert not is_infinite_mask(torch.tensor([0.0, torch.nan]))
    assert not is_infinite_mask(torch.tensor([1.0, torch.inf]))
    assert not is_infinite_mask(torch.zeros(3))
    assert not is_infinite_mask(torch.tensor([True]))


def ties(*states):
    finder = TieFinder(states[0])
    for state in states[1:]:
        finder.update(state)
    return finder.ties


def test_what_is_equal_in_all_and_moves_is_one():
    def state(step):
        one = torch.arange(6.0).view(2, 3) + step
        return {"a": one, "b": one.clone(), "c": one.clone(), "t": one.T.clone(), "z": 2 * one}

    assert ties(state(0), state(1), state(2)) == {"b": "a", "c": "a"}
    parted = state(3)
    parted["c"] = parted["c"] + 1
    assert ties(state(0), state(1), parted) == {"b": "a"}
    apart = state(3) | {"a": torch.zeros(2, 3)}
    assert ties(state(0), state(1), apart) == {"c": "b"}


def test_constants_are_not_one():
    state = {"norm1.weight": torch.ones(3), "norm2.weight": torch.ones(3), "w": torch.zeros(2)}
    assert ties(state, state, state | {"w": torch.ones(2)}) == {}


def test_equal_values_of_other_types_or_shapes_are_not_one():
    states = [
        {"a": s * torch.ones(4), "b": s * torch.ones(2, 2), "c": s * torch.ones(4).double()}
        for s in (0.0, 1.0)
    ]
    assert ties(*states) == {}


def test_a_finder_is_settled_where_nothing_can_be_tied():
    assert TieFinder({"a": torch.ones(2), "b": torch.zeros(2)}).is_final
    assert not TieFinder({"a": torch.ones(2), "b": torch.ones(2)}).is_final
