"""Any method makes checkpoints that load, and they are those that a comparison judges."""

import json

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, update_bn

from paramdiff.checkpoints.sources import find_runs
from paramdiff.commands.make import make
from paramdiff.errors import UserError
from paramdiff.methods.registry import METHODS, find_member
from paramdiff.networks.small import DigitsNetwork
from paramdiff.storage import read_metadata, read_tensors
from tests.commands.folders import network, train

SCORE = "tests.commands.folders:score"
pytestmark = pytest.mark.filterwarnings("ignore:.*BatchNorm statistics are made like")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return train(tmp_path_factory.mktemp("make") / "run")


def states(folder):
    return [stored.read()[0] for run in find_runs([str(folder)]) for stored in run]


def test_the_average_of_all_is_torchs(checkpoints, tmp_path):
    made = make("average", checkpoints, tmp_path / "out")
    (found,) = states(made.folder)
    first, *others = states(checkpoints)
    reference = AveragedModel(network(), use_buffers=True)
    for state in (first, *others):
        model = network()
        model.load_state_dict(state)
        reference.update_parameters(model)
    expected = reference.module.state_dict()
    for name, tensor in found.items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, expected[name], atol=1e-6), name
        else:
            assert torch.equal(tensor, first[name]), name
    assert (made.name, made.num_networks) == ("average@all", 1)


def test_what_all_share_stays_to_the_bit(tmp_path):
    (tmp_path / "ck").mkdir()
    shared = torch.randn(5, 3)
    for step in range(6):
        state = {"frozen": shared, "w": torch.randn(4), "count": torch.tensor(step)}
        torch.save(state, tmp_path / "ck" / f"step{step}.pt")
    for method in ("average", "average@2", "swag@1.0", "interpolation", "gaussian@1.0", "kde"):
        made = make(method, tmp_path / "ck", tmp_path / method, num_samples=3)
        for state in states(made.folder):
            assert torch.equal(state["frozen"], shared), method
            assert not torch.equal(state["w"], torch.zeros(4))


def test_every_method_without_data_makes_networks_that_load(checkpoints, tmp_path):
    tried = 0
    for method in METHODS.values():
        if method.sample is None or method.needs - {"order"} or method.data_used.kind != "none":
            continue
        made = make(method.name, checkpoints, tmp_path / method.name, num_samples=2)
        for state in states(made.folder):
            network().load_state_dict(state, strict=True)
        assert 1 <= made.num_networks <= 2
        tried += 1
    assert tried > 8


def test_the_same_seed_makes_the_same_networks_however_many(checkpoints, tmp_path):
    few = make("swag@1.0", checkpoints, tmp_path / "few", num_samples=2, seed=3)
    many = make("swag@1.0", checkpoints, tmp_path / "many", num_samples=4, seed=3)
    other = make("swag@1.0", checkpoints, tmp_path / "other", num_samples=2, seed=4)
    a, b, c = (states(one.folder) for one in (few, many, other))
    for own, same in zip(a, b[:2], strict=True):
        for name in own:  # products of matrices of another height round in another way
            assert torch.allclose(own[name], same[name], rtol=1e-5, atol=1e-6), name
    assert not torch.equal(a[0]["0.weight"], c[0]["0.weight"])


def test_the_card_says_how_they_were_made(checkpoints, tmp_path):
    folder = make("swag@1.3", checkpoints, tmp_path / "out", num_samples=2, seed=5).folder
    card = (folder / "README.md").read_text()
    for words in ("Low-rank SWAG, scale 1.3", "Maddox", "12 checkpoints", "--seed 5"):
        assert words in card, words
    known = json.loads((folder / "learned_from.json").read_text())
    assert len(known["trained"]) == 12


def test_safetensors_tell_method_and_seed(tmp_path, checkpoints):
    from safetensors.torch import save_file

    (tmp_path / "st").mkdir()
    for number, state in enumerate(states(checkpoints)):
        save_file(state, tmp_path / "st" / f"step{number}.safetensors")
    made = make("average@2", tmp_path / "st", tmp_path / "out", num_samples=2)
    first, second = sorted(made.folder.glob("*.safetensors"))
    assert read_metadata(second) == {"method": "average@2", "method_seed": "0", "seed": 1}
    assert read_tensors(first).keys() == states(checkpoints)[0].keys()


def test_batchnorm_statistics_are_those_of_torchs_update(tiny_run, tmp_path):
    made = make("average@all+bn", tiny_run / "zoo", tmp_path / "out", task="digits", device="cpu")
    (state,) = states(made.folder)
    kept = make("average", tiny_run / "zoo", tmp_path / "kept", task="digits", keep_batchnorm=True)
    (plain,) = states(kept.folder)
    assert (made.name, kept.name) == ("average@all+bn", "average@all")
    names = [name for name in state if name.endswith(("running_mean", "running_var"))]
    assert names and any(not torch.equal(state[name], plain[name]) for name in names)
    from paramdiff.random import seeded_generator
    from paramdiff.runs.predictors import NUM_RECALIBRATION_INPUTS
    from paramdiff.tasks.registry import build_task
    from paramdiff.tasks.task_settings import TaskSettings

    inputs = build_task(TaskSettings(name="digits")).train.inputs
    order = torch.randperm(len(inputs), generator=seeded_generator("recalibration"))
    model = DigitsNetwork()
    model.load_state_dict(plain)
    chosen = inputs[order[:NUM_RECALIBRATION_INPUTS]]
    update_bn(chosen.tensor_split(-(-len(chosen) // 500)), model)
    expected = model.state_dict()
    for name in names:
        assert torch.allclose(state[name], expected[name], atol=1e-6), name


def test_without_data_a_warning_says_what_becomes_of_batchnorm(checkpoints, tmp_path):
    with pytest.warns(UserWarning, match="BatchNorm statistics are made like any other"):
        make("average", checkpoints, tmp_path / "out")


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("averagge", {}, "the nearest is 'average'"),
        ("generated", {}, "paramdiff fit"),
        ("average@some", {}, "a whole number of checkpoints"),
        ("average@0", {}, "a whole number of checkpoints"),
        ("average@64", {}, "needs 64 checkpoints"),
        ("swag@-1", {}, "a number from 0 on"),
        ("swag@nan", {}, "a number from 0 on"),
        ("greedy_soup@3", {}, "it has no strength"),
        ("random+bn", {"score_fn": SCORE}, "only +bn may follow"),
        ("average+x", {}, "only +bn may follow"),
        ("ema@1.5", {}, "between 0 and 0.9999"),
        ("power_ema@0", {}, "between 0.001 and 0.28"),
        ("slerp@7", {}, "between 0 and 1"),
        ("wise_ft", {}, "--base-checkpoint"),
        ("run_average", {}, "average takes one run"),
        ("random", {}, "--task"),
        ("average+bn", {}, "name the data"),
        ("greedy_soup", {}, "name the data"),
        ("multiswag", {}, "needs several runs"),
        ("average", {"align": True}, "--align"),
        ("average", {"select": ["nothing*"]}, "nothing*"),
        ("average", {"select": ["0.*"]}, "unselected tensors differ"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(checkpoints, tmp_path, method, options, words):
    with pytest.raises(UserError) as caught:
        make(method, checkpoints, tmp_path / "out", **options)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused(checkpoints, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="new folder"):
        make("average", checkpoints, tmp_path / "out")


def test_names_of_members_are_read_back():
    for method in METHODS.values():
        for member in method.members if method.sample is not None else ():
            if member.strength is not None or method.strengths.fixed[0] is None:
                assert find_member(member.name) == (member, False)
    assert find_member("swag@1.234567")[0].name == "swag@1.23"


def adapter_states(num=8):
    """Adapters whose factors are turned anew each time; their product moves a little."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(2, 6, generator=generator)
    second = torch.randn(5, 2, generator=generator)
    for step in range(num):
        turn = torch.linalg.qr(torch.randn(2, 2, generator=generator))[0]
        moved = second + 0.01 * step
        yield {
            "base_model.model.q.lora_A.weight": turn.T @ first,
            "base_model.model.q.lora_B.weight": moved @ turn,
        }


def product_of(state):
    first, second = state.values()
    return second @ first


def test_adapters_are_averaged_as_their_products(tmp_path):
    (tmp_path / "ck").mkdir()
    given = list(adapter_states())
    for step, state in enumerate(given):
        torch.save(state, tmp_path / "ck" / f"step{step}.pt")
    expected = torch.stack([product_of(state) for state in given]).mean(0)
    made = make("average", tmp_path / "ck", tmp_path / "out")
    (state,) = states(made.folder)
    assert torch.allclose(product_of(state), expected, atol=1e-3)
    assert state.keys() == given[0].keys() and "of rank 2 again" in made.facts["Adapters"]
    plain = make("average", tmp_path / "ck", tmp_path / "plain", keep_factors=True)
    (factors,) = states(plain.folder)
    means = {name: torch.stack([one[name] for one in given]).mean(0) for name in factors}
    assert all(torch.allclose(factors[name], means[name], atol=1e-6) for name in means)
    assert (product_of(factors) - expected).norm() > 0.2 * expected.norm()
    for method in ("swag@0.5", "interpolation", "gaussian@0.25", "kde", "last@5", "ema@0.9"):
        made = make(method, tmp_path / "ck", tmp_path / method, num_samples=2)
        for state in states(made.folder):
            away = (product_of(state) - expected).norm() / expected.norm()
            assert away < 0.1, (method, away)


def test_independent_runs_are_warned_of_and_every_run_has_its_network(tmp_path):
    for run in range(3):
        (tmp_path / "ck" / f"run{run}").mkdir(parents=True)
        start = torch.randn(40, 40, generator=torch.Generator().manual_seed(run))
        for step in range(4):
            torch.save(
                {"w": start + 0.01 * step}, tmp_path / "ck" / f"run{run}" / f"step{step}.pt"
            )
    with pytest.warns(UserWarning, match="--align"):
        make("average", tmp_path / "ck", tmp_path / "average")
    with pytest.warns(UserWarning, match="--align"):
        made = make("last_checkpoint", tmp_path / "ck", tmp_path / "last", num_samples=1)
    assert made.num_networks == 3


def test_the_folder_of_a_comparison_stands_for_its_checkpoints(checkpoints, tmp_path):
    from paramdiff.commands.compare import compare

    compare(checkpoints, tmp_path / "out", score_fn=SCORE, num_compared=2, write_best=True)
    made = make("average", tmp_path / "out", tmp_path / "average")
    assert made.facts["Checkpoints"] == "12 checkpoints of one run"
