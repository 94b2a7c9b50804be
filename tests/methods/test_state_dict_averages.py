"""Averages of state dicts: against torch and the methods of the registry, and what is refused."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from paramdiff import methods
from paramdiff.errors import UserError
from paramdiff.methods.registry import METHODS
from paramdiff.parameters.layout import ParameterLayout

from .contexts import built, context


def states(num=6):
    found = []
    for seed in range(num):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3).bfloat16())
        network[1].running_var.uniform_(0.5, 2)
        network[1].num_batches_tracked.fill_(seed)
        found.append({name: one.clone() for name, one in network.state_dict().items()})
    return found


def test_the_average_is_torchs_and_files_are_read_like_state_dicts(tmp_path):
    networks = [nn.Linear(4, 3) for _ in range(4)]
    averaged = AveragedModel(networks[0])
    paths = []
    for number, network in enumerate(networks):
        averaged.update_parameters(network)
        paths.append(tmp_path / f"{number}.safetensors")
        save_file(network.state_dict(), paths[-1])
    expected = averaged.module.state_dict()
    for sources in ([one.state_dict() for one in networks], paths, [str(one) for one in paths]):
        found = methods.average(sources)
        assert found.keys() == expected.keys()
        for name, one in found.items():
            torch.testing.assert_close(one, expected[name])


def test_types_are_kept_and_counters_are_the_last():
    given = states()
    found = methods.average(given)
    assert {name: one.dtype for name, one in found.items()} == {
        name: one.dtype for name, one in given[0].items()
    }
    assert list(found) == list(given[0])
    assert found["1.num_batches_tracked"].item() == 5


def test_weights_are_shares():
    given = states(3)
    found = methods.average(given, [2, 0, 6])
    expected = 0.25 * given[0]["0.weight"] + 0.75 * given[2]["0.weight"]
    torch.testing.assert_close(found["0.weight"], expected)


FUNCTIONS = {
    "average@all": lambda given, base: methods.average(given),
    "ema@0.8": lambda given, base: methods.ema(given, 0.8),
    "power_ema@0.1": lambda given, base: methods.power_ema(given, [1, 2, 3, 4, 5, 6], 0.1),
    "wise_ft@0.5": lambda given, base: methods.task_arithmetic(base, given, 0.5),
    "model_stock": lambda given, base: methods.model_stock(base, given),
    "karcher_mean": lambda given, base: methods.karcher_mean(given),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_the_methods_of_the_registry(name):
    given = [{key: one.float() for key, one in state.items()} for state in states(7)]
    base, given = given[6], given[:6]
    layout = ParameterLayout.of(base, list(base))
    vectors = torch.stack([layout.flatten(one) for one in given])
    method, _, strength = name.partition("@")
    at = strength if strength == "all" else float(strength) if strength else None
    member = METHODS[method].at(at)
    made = built(member, context(originals=vectors, layout=layout, base=layout.flatten(base))).raw
    found = layout.flatten(FUNCTIONS[name](given, base))
    torch.testing.assert_close(found, made[0], rtol=1e-4, atol=1e-5)


def test_slerp_and_decays_have_their_ends():
    first, second = states(2)
    for share, end in ((0.0, first), (1.0, second)):
        found = methods.slerp(first, second, share)
        torch.testing.assert_close(found["0.weight"], end["0.weight"])
    linear = methods.decayed(states(), "linear")["0.weight"]
    torch.testing.assert_close(linear, methods.average(states())["0.weight"])


def test_tied_tensors_stay_tied():
    given = []
    for _ in range(3):
        weight = torch.randn(4, 4)
        given.append({"embedding": weight, "head": weight, "view": weight[:2]})
    found = methods.average(given)
    assert found["embedding"] is found["head"] and found["view"] is not found["head"]


@pytest.mark.parametrize("change", [{"0.weight": torch.ones(2)}, {"other": torch.ones(2)}])
def test_other_networks_are_refused_in_one_line(change):
    first, second = states(2)
    with pytest.raises(UserError, match="state dict 1: tensor") as caught:
        methods.average([first, second | change])
    assert len(str(caught.value).splitlines()) == 1


def test_codes_that_differ_and_nothing_at_all_are_refused():
    codes = [{"codes": torch.tensor([1, value])} for value in (2, 3)]
    with pytest.raises(UserError, match=r"differs, and torch\.int64 cannot be averaged"):
        methods.average(codes)
    assert methods.average([codes[0], codes[0]])["codes"].tolist() == [1, 2]
    with pytest.raises(UserError, match="name at least one"):
        methods.average([])
    with pytest.raises(UserError, match="there are 2 weights for 1 state dicts"):
        methods.average(codes[:1], [1, 2])


def test_they_need_torch_and_safetensors_alone():
    code = (
        "import sys; from paramdiff.methods import average, slerp; "
        "heavy = {'sklearn', 'scipy', 'diffusers', 'transformers', 'matplotlib', 'pandas'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
