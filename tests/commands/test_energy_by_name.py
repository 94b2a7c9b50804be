"""``--energy`` by its names."""

import sys

import pytest
import torch
from torch.nn import functional as F

from paramdiff.commands.energy_by_name import build_energy, data_with_energy
from paramdiff.commands.generate import generate
from paramdiff.errors import UserError
from paramdiff.methods.data_use import NO_DATA, DataUse
from paramdiff.networks.small import DigitsNetwork
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.storage import read_tensors
from paramdiff.tasks.digits import digits

CPU = torch.device("cpu")

OWN = """
def low(vectors):
    return -vectors.square().sum(1)

def broken(vectors):
    raise RuntimeError("out of ideas")
"""


@pytest.fixture
def space(tiny_run):
    return ParameterDiffusionPipeline.from_pretrained(tiny_run / "pipeline").parameter_space


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_energy.py").write_text(OWN)
    (tmp_path / "cut_off.py").write_text("def low(")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_energy", None)


def made(tiny_run, out, energy=None, scale=None, **options):
    generate(
        str(tiny_run / "pipeline"),
        out,
        num_samples=3,
        device="cpu",
        num_inference_steps=10,
        energy=energy,
        energy_scale=scale,
        **options,
    )
    return [read_tensors(path) for path in sorted(out.glob("*.safetensors"))]


def training_loss(state_dict):
    network, split = DigitsNetwork(), digits().train
    network.load_state_dict(state_dict)
    with torch.no_grad():
        return float(F.cross_entropy(network.eval()(split.inputs[:]), split.labels))


def test_the_loss_of_a_recipes_task_falls(tiny_run, tmp_path):
    plain = made(tiny_run, tmp_path / "plain")
    guided = made(
        tiny_run, tmp_path / "guided", "loss", 100.0, recipe=str(tiny_run / "recipe.yaml")
    )
    assert sum(map(training_loss, guided)) < sum(map(training_loss, plain))
    card = (tmp_path / "guided" / "README.md").read_text()
    assert "| Energy | `loss`, scale 100, on the labels of 256 training examples |" in card
    assert "Energy" not in (tmp_path / "plain" / "README.md").read_text()


def test_the_distance_is_that_from_the_named_checkpoints(tiny_run, space):
    energy = build_energy(f"distance:{tiny_run / 'zoo' / 'checkpoints'}", None, space, CPU)
    first = read_tensors(tiny_run / "zoo" / "checkpoints" / "0000.safetensors")
    vector = space.flatten(first)[None]
    assert energy(vector).item() == 0
    assert energy(vector + 0.1).item() > 0


def test_labels_are_counted_for_every_network_and_step():
    counted = data_with_energy(NO_DATA, ("loss", 2.0), 10, 3)
    assert counted == DataUse("labels", "training", 256 * 10 * 3)
    assert data_with_energy(NO_DATA, ("distance:a", 2.0), 10, 3) == NO_DATA
    assert data_with_energy(NO_DATA, ("my_energy:low", 2.0), 10, 3) is None


def test_a_users_own_function_guides(tiny_run, own, tmp_path, space):
    energy = build_energy("my_energy:low", None, space, CPU)
    assert energy(torch.ones(2, 3)).tolist() == [-3, -3]
    assert len(made(tiny_run, tmp_path / "out", "my_energy:low", 0.1)) == 3


@pytest.mark.parametrize(
    ("name", "recipe", "told"),
    [
        ("loss", None, "--energy: loss and --recipe"),
        ("my_energy:low", "quickstart", "--energy: loss and --recipe"),
        ("loss", "quickstrt", "the nearest is 'quickstart'"),
        ("cut_off:low", None, "--energy: 'cut_off:low' cannot be imported: SyntaxError"),
        ("my_energy:high", None, "--energy: 'my_energy:high' cannot be imported"),
        ("distance:nowhere", None, "nowhere: there is no such checkpoint"),
        ("my_energy:broken", None, "'my_energy:broken' failed: RuntimeError: out of ideas"),
    ],
)
def test_energies_that_cannot_be_had_are_refused(tiny_run, own, tmp_path, name, recipe, told):
    with pytest.raises(UserError, match=told) as caught:
        made(tiny_run, tmp_path / "out", name, 1.0, recipe=recipe)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()
