"""What a recipe would make is told without data, and without running the user's network."""

import pytest
import torch
from torch import nn

from paramdiff.commands.check import check_recipe
from paramdiff.errors import UserError
from paramdiff.networks.small import DigitsNetwork
from paramdiff.recipe.schema import load_recipe
from paramdiff.tasks.registry import describe_task


class LooksAtValues(DigitsNetwork):
    """A network that cannot be built, nor run, without values."""

    def __init__(self, num_classes=10, in_channels=1):
        super().__init__(num_classes, in_channels)
        assert self.conv1.weight.abs().max().item() > 0

    def forward(self, images):
        return super().forward(images) if images.max().item() < 2 else super().forward(images / 2)


def looks_at_values(num_classes, input_shape):
    """A user's own network for ``task.network.name``."""
    return LooksAtValues(num_classes, input_shape[0])


def test_a_network_that_needs_values_is_measured_all_the_same():
    own = f"task.network={{name: '{__name__}:looks_at_values'}}"
    facts, usual = (
        check_recipe(recipe, describe_task(recipe.task))
        for recipe in (load_recipe("quickstart", [own]), load_recipe("quickstart"))
    )
    assert facts["estimated cost"].startswith("unknown; the network does not run without values")
    del facts["estimated cost"], usual["estimated cost"]
    assert facts == usual


def test_no_data_are_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = load_recipe("full/mnist_cnnmedium", [f"task.root={tmp_path / 'none'}"])
    facts = check_recipe(recipe, describe_task(recipe.task))
    assert facts["task"] == "MNIST: 55,000 training, 5,000 validation, 10,000 test examples"
    assert facts["generated parameters"] == "10,853 in 10 tensors"
    assert list(tmp_path.iterdir()) == []


def test_measuring_draws_no_random_numbers():
    recipe = load_recipe("quickstart", ["preset=paper"])
    before = torch.get_rng_state()
    check_recipe(recipe, describe_task(recipe.task))
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(describe_task(recipe.task).build_network(), nn.Module)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        (
            "collection.skip_steps_per_epoch=19",
            "collection.skip_steps_per_epoch: .* leaves no checkpoint",
        ),
        ("collection.independent_runs=true", "'conv1.weight' is not selected"),
        ("parameters.select=['norm2.running*']", "no trainable parameter is selected"),
        ("parameters.num_checkpoints=301", "the zoo has 300 originals, fewer than 301"),
    ],
)
def test_a_collection_that_cannot_work_is_refused(override, named):
    recipe = load_recipe("quickstart", [override])
    with pytest.raises(UserError, match=named):
        check_recipe(recipe, describe_task(recipe.task))


@pytest.mark.parametrize("name", ["fasterrcnn", "fcos", "fcn", "ddpm_unet"])
def test_a_task_with_its_own_score_needs_no_data_either(name, monkeypatch, tmp_path):
    pytest.importorskip("torchvision")
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = load_recipe(f"other/{name}", [f"task.root={tmp_path / 'none'}"])
    facts = check_recipe(recipe, describe_task(recipe.task))
    assert "5,000 validation" in facts["task"]
    assert facts["estimated cost"] == "unknown; the task has its own loss and score"
    assert list(tmp_path.iterdir()) == []
