"""Frozen layers that run once: the plain loop's checkpoints, and when values may be kept."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paramdiff.parameters.layout import ParameterLayout
from paramdiff.random import seeded_generator
from paramdiff.tasks.base import Split
from paramdiff.tasks.classification import ClassificationTask
from paramdiff.zoo import finetune
from paramdiff.zoo.epoch_batches import ClassificationBatches
from paramdiff.zoo.finetune import FineTunedNetwork, depends_on_mode, fine_tune
from paramdiff.zoo.plan import Run
from paramdiff.zoo.zoo_settings import FineTuningSettings

from .collecting import CPU

SELECTED = ("norm2.weight", "norm2.bias", "norm3.weight", "norm3.bias")
NUM_STEPS = 10
SEED = 3


class Convolutions(nn.Module):
    """Three blocks; the last has a shortcut, so that two values cross the cut."""

    def __init__(self, norm=nn.BatchNorm2d, dropout=0.0, first_norm=None):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 6, 3, padding=1)
        self.norm1 = (first_norm or norm)(6)
        self.dropout = nn.Dropout(dropout)
        self.conv2, self.norm2 = nn.Conv2d(6, 6, 3, padding=1), norm(6)
        self.conv3, self.norm3 = nn.Conv2d(6, 6, 3, padding=1), norm(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.dropout(F.relu(self.norm1(self.conv1(x)), inplace=True))
        y = F.relu(self.norm2(self.conv2(x)), inplace=True)
        return self.head((F.relu(self.norm3(self.conv3(y))) + x).mean((2, 3)))


def group_norm(channels):
    return nn.GroupNorm(2, channels)


def image_task(is_augmented=False):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(70, 2, 6, 6, generator=generator)
    split = Split(inputs, torch.randint(4, (70,), generator=generator))

    def augmented(rows, generator):
        return inputs[rows] + torch.randn(len(rows), 2, 6, 6, generator=generator)

    augment = augmented if is_augmented else None
    return ClassificationTask("images", split, split, split, Convolutions, augmented=augment)


def trained_network(norm=nn.BatchNorm2d, **kwargs):
    torch.manual_seed(5)
    network = Convolutions(norm, **kwargs)
    with torch.no_grad():
        network.train()(torch.randn(40, 2, 6, 6) * 2 + 1)  # running statistics that matter
    return network


def tuned(folder, network, task, mode="eval", first=1, names=SELECTED, **kwargs):
    network = copy.deepcopy(network)
    layout = ParameterLayout.of(network.state_dict(), names)
    memory_budget = kwargs.pop("memory_budget", finetune.MEMORY_BUDGET)
    vectors = fine_tune(
        network,
        task,
        layout,
        FineTuningSettings(mode=mode, **{"batch_size": 16, "lr": 0.03, **kwargs}),
        Run(0, tuple(range(first, first + NUM_STEPS))),
        seed=SEED,
        device=CPU,
        state_folder=folder,
        progress=lambda work, done, total: None,
        memory_budget=memory_budget,
    )
    return torch.stack(vectors)


def plainly_tuned(
    network,
    task,
    mode="eval",
    first=1,
    names=SELECTED,
    precision="float32",
    optimizer="adamw",
):
    """The loop that everybody writes: the whole network at every update."""
    network = copy.deepcopy(network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in names)
    trained = [p for p in network.parameters() if p.requires_grad]
    rule = {
        "adamw": lambda: torch.optim.AdamW(trained, lr=0.03, weight_decay=5e-4),
        "sgd": lambda: torch.optim.SGD(trained, lr=0.03, momentum=0.9, weight_decay=5e-4),
    }[optimizer]()
    data = ClassificationBatches(task, 16, f"{SEED}/fine-tuning/0")
    layout = ParameterLayout.of(network.state_dict(), names)
    rows, network = [], network.train(mode != "eval")
    for step in range(first + NUM_STEPS - 1):
        if mode == "eval_after_first_save" and step == first:
            network.eval()
        chosen = data.rows(step)
        inputs = data.inputs(chosen, seeded_generator(SEED * 1000, step))
        with torch.autocast("cpu", torch.bfloat16, precision == "bfloat16"):
            loss = F.cross_entropy(network(inputs), task.train.labels[chosen])
        rule.zero_grad()
        loss.backward()
        rule.step()
        rows.append(layout.flatten(network.state_dict()))
    return torch.stack(rows[first - 1 :])


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("mode", ["eval", "train", "eval_after_first_save"])
@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("memory_budget", [finetune.MEMORY_BUDGET, 0])
def test_checkpoints_equal_the_plain_loops(tmp_path, optimizer, mode, augmented, memory_budget):
    task, network = image_task(augmented), trained_network()
    kwargs = {"mode": mode, "optimizer": optimizer, "first": 3}
    found = tuned(tmp_path, network, task, memory_budget=memory_budget, **kwargs)
    expected = plainly_tuned(network, task, **kwargs)
    assert (expected[-1] - expected[0]).abs().max() > 1e-2  # ten updates do move something
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_half_precision_equals_the_plain_loops_to_its_rounding(tmp_path):
    task, network = image_task(), trained_network()
    kwargs = {"precision": "bfloat16", "optimizer": "sgd"}
    found = tuned(tmp_path, network, task, **kwargs)
    expected = plainly_tuned(network, task, **kwargs)
    moved = (expected[-1] - expected[0]).norm()
    assert (found - expected).norm(dim=1).max() < 0.05 * moved


class CountedCalls:
    """How many examples go through the first layer of any copy of a network."""

    def __init__(self, monkeypatch):
        self.num_examples = 0
        original = nn.Conv2d.forward

        def forward(module, inputs):
            if module.in_channels == 2:
                self.num_examples += len(inputs)
            return original(module, inputs)

        monkeypatch.setattr(nn.Conv2d, "forward", forward)


def test_kept_values_spare_the_frozen_layers(tmp_path, monkeypatch):
    task, network = image_task(), trained_network()
    calls = CountedCalls(monkeypatch)
    tuned(tmp_path / "kept", network, task)
    assert 70 <= calls.num_examples <= 70 + 10 * finetune.NUM_CHECKED  # checks run a few
    calls.num_examples = 0
    tuned(tmp_path / "not", network, task, memory_budget=0)
    assert calls.num_examples >= NUM_STEPS * 14


@pytest.mark.parametrize("mode", ["train", "eval_after_first_save"])
def test_a_network_without_modes_keeps_values_in_any(tmp_path, monkeypatch, mode):
    task, network = image_task(), trained_network(group_norm)
    calls = CountedCalls(monkeypatch)
    found = tuned(tmp_path, network, task, mode=mode)
    assert calls.num_examples <= 70 + 10 * finetune.NUM_CHECKED
    torch.testing.assert_close(found, plainly_tuned(network, task), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (trained_network(), True),
        (trained_network(group_norm), False),
        (trained_network(group_norm, dropout=0.1), True),
        (nn.Sequential(nn.Flatten(), nn.Linear(72, 4)), False),
    ],
)
def test_what_depends_on_the_mode(network, expected):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    assert depends_on_mode(network, image_task().train.inputs) is expected
    assert torch.get_rng_state().equal(state)
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())


def frozen_layers(network, task, names=SELECTED, num_steps=NUM_STEPS, memory_budget=2**30):
    data = ClassificationBatches(task, 16, "stream")
    return FineTunedNetwork(
        network.eval(),
        names,
        data,
        num_steps=num_steps,
        memory_budget=memory_budget,
        progress=lambda done, total: None,
    )


def test_it_says_why_nothing_is_kept():
    network, task = trained_network(), image_task()
    assert frozen_layers(network, task).reason is None
    size = 70 * 2 * 6 * 6 * 6 * 4  # two float32 values [6, 6, 6] for each of 70 examples
    assert frozen_layers(network, task, memory_budget=size).reason is None
    too_large = frozen_layers(network, task, memory_budget=size - 1).reason
    assert (
        too_large == "the outputs of the frozen layers would take 0 MiB, and the budget is 0 MiB"
    )
    assert frozen_layers(network, task, num_steps=5).reason == "no example is seen twice"
    augmented = frozen_layers(network, image_task(is_augmented=True)).reason
    assert augmented == "augmentation changes the inputs of the frozen layers"
    first = frozen_layers(network, task, names=["conv1.weight"]).reason
    assert first == "the first operation already uses one of the chosen tensors"
    batch_statistics = trained_network(
        first_norm=lambda channels: nn.BatchNorm2d(channels, track_running_stats=False)
    )
    mixed = frozen_layers(batch_statistics, task).reason
    assert mixed == "the outputs of the frozen layers are not one per example"


def test_values_that_are_no_tensors_cross_the_cut(tmp_path):
    class Reshaping(Convolutions):
        def forward(self, x):
            batch = x.shape[0]
            x = self.norm1(self.conv1(x))
            y = self.norm3(self.conv3(self.norm2(self.conv2(x))))
            return self.head(y.reshape(batch, 6, -1).mean(2))

    torch.manual_seed(2)
    network, task = Reshaping().eval(), image_task()
    assert (
        frozen_layers(network, task).reason
        == "the outputs of the frozen layers are not one per example"
    )
    found = tuned(tmp_path, network, task)
    torch.testing.assert_close(found, plainly_tuned(network, task), rtol=0, atol=1e-4)


def test_the_whole_network_is_trained_where_nothing_is_shared(tmp_path):
    task, network = image_task(), trained_network()
    kwargs = {"optimizer": "sgd", "names": tuple(dict(network.named_parameters()))}
    found = tuned(tmp_path, network, task, **kwargs)
    expected = plainly_tuned(network, task, **kwargs)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "names", "is_mode_seen"),
    [
        ("resnet18", ["layer4.1.bn1.weight", "layer4.1.bn1.bias", "layer4.1.bn2.weight"], True),
        ("vit_tiny_patch16_224", ["blocks.11.norm2.weight", "norm.bias"], False),
        ("convnext_atto", ["stages.3.blocks.1.norm.weight", "head.norm.bias"], False),
    ],
)
def test_timm_networks_keep_values(tmp_path, name, names, is_mode_seen):
    timm = pytest.importorskip("timm")
    size = {"img_size": 32} if "vit" in name else {}
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=4, pretrained=False, **size)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(24, 3, 32, 32, generator=generator)
    split = Split(inputs, torch.randint(4, (24,), generator=generator))
    task = ClassificationTask("images", split, split, split, lambda: network)
    assert depends_on_mode(network, inputs) is is_mode_seen
    assert frozen_layers(copy.deepcopy(network), task, names).reason is None
    mode = "eval" if is_mode_seen else "train"
    kwargs = {"names": names, "optimizer": "sgd"}
    found = tuned(tmp_path, network, task, mode=mode, **kwargs)
    torch.testing.assert_close(
        found, plainly_tuned(network, task, mode=mode, **kwargs), rtol=0, atol=1e-4
    )


def test_dropout_draws_from_the_updates_own_stream(tmp_path):
    network, task = trained_network(dropout=0.5), image_task()
    one = tuned(tmp_path / "one", network, task, mode="train")
    torch.manual_seed(99)
    same = tuned(tmp_path / "same", network, task, mode="train")
    without = tuned(tmp_path / "without", trained_network(dropout=0.0), task, mode="train")
    assert one.equal(same)
    assert not one.equal(without)
