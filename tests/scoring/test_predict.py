"""Fast scores equal the plain loop: load the state dict, run the network."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from paramdiff.errors import UserError
from paramdiff.networks.resnet20 import ResNet20
from paramdiff.scoring.predict import Scorer
from paramdiff.scoring.stacked import BatchedEvaluator, SequentialEvaluator


def small_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 14), nn.LeakyReLU(inplace=True), nn.Linear(14, 5, bias=False)
    )


def normed_mlp():
    return nn.Sequential(nn.Linear(64, 14), nn.LayerNorm(14), nn.GELU(), nn.Linear(14, 5))


def tied_mlp():
    network = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    network[2].weight = network[0].weight
    return network


class BranchOnValue(nn.Module):
    """Cannot be traced: what it does depends on the values."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(x if x.sum() > 0 else -x)


def random_sets(network, names, count=5):
    tensors = network.state_dict()
    return [
        {n: tensors[n] + 0.1 * torch.rand_like(tensors[n]) for n in names} for _ in range(count)
    ]


def plain_logits(network, parameter_sets, inputs):
    network = copy.deepcopy(network).eval()
    base = copy.deepcopy(network.state_dict())
    results = []
    with torch.no_grad():
        for parameters in parameter_sets:
            network.load_state_dict({**base, **parameters})
            results.append(network(inputs))
    return torch.stack(results)


def assert_equals_plain_loop(network, names, inputs, **options):
    scorer = Scorer(network, network.state_dict(), names, inputs, **options)
    sets = random_sets(network, names)
    expected = plain_logits(network, sets, inputs)
    labels = scorer.predict(sets)
    assert labels.dtype == torch.int16 and labels.shape == expected.shape[:2]
    for parameters, logits in zip(sets, expected, strict=True):
        torch.testing.assert_close(scorer.logits(parameters), logits, rtol=0, atol=1e-4)
    best = expected.topk(2, dim=-1).values
    clear = best[..., 0] - best[..., 1] > 1e-4
    assert torch.equal(labels[clear].long(), expected.argmax(-1)[clear])
    assert torch.equal(scorer.predict(sets), labels)
    return scorer


IMAGES = torch.randn(11, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "build, names, inputs",
    [
        (small_cnn, ["4.weight", "4.bias"], IMAGES),
        (small_cnn, ["4.running_var", "1.running_mean"], IMAGES),
        (small_cnn, list(dict(small_cnn().named_parameters())), IMAGES),
        (mlp, list(mlp().state_dict()), IMAGES),
        (mlp, ["3.weight"], IMAGES),
        (mlp, ["1.bias"], IMAGES),
        (tied_mlp, ["2.weight", "0.bias"], IMAGES[:, 0, 0]),
        (normed_mlp, ["1.weight", "1.bias"], IMAGES.flatten(1)),
        (normed_mlp, list(normed_mlp().state_dict()), IMAGES.flatten(1)),
        (ResNet20, ["layer3.2.bn1.weight", "layer3.2.bn2.bias"], torch.randn(5, 3, 32, 32)),
        (ResNet20, ["fc.weight", "fc.bias"], torch.randn(5, 3, 32, 32)),
        (ResNet20, ["layer1.0.conv1.weight"], torch.randn(5, 3, 32, 32)),
    ],
)
def test_equals_the_plain_loop(build, names, inputs):
    assert_equals_plain_loop(build(), names, inputs, batch_size=4)


def test_torchvision_resnet18_equals_the_plain_loop():
    models = pytest.importorskip("torchvision.models")
    names = ["layer4.1.bn1.weight", "layer4.1.bn1.bias", "layer4.1.bn2.weight"]
    network = models.resnet18(num_classes=10)
    scorer = assert_equals_plain_loop(network, names, torch.randn(5, 3, 32, 32))
    assert scorer.cut.reason is None


@pytest.mark.parametrize(
    "name, chosen",
    [
        ("vit_tiny_patch16_224", ["blocks.11.norm2.weight", "norm.bias"]),
        ("vit_tiny_patch16_224", ["head.weight"]),
        ("convnext_atto", ["stages.3.blocks.1.norm.weight", "head.norm.bias"]),
    ],
)
def test_timm_networks_equal_the_plain_loop(name, chosen):
    timm = pytest.importorskip("timm")
    size = {"img_size": 32} if "vit" in name else {}
    network = timm.create_model(name, num_classes=7, pretrained=False, **size)
    assert assert_equals_plain_loop(network, chosen, torch.randn(3, 3, 32, 32)).cut.reason is None


def test_chains_of_linear_layers_are_stacked():
    network = mlp()
    scorer = Scorer(network, network.state_dict(), list(network.state_dict()), IMAGES)
    assert isinstance(scorer._evaluate, BatchedEvaluator)
    network = normed_mlp()
    scorer = Scorer(network, network.state_dict(), ["1.weight"], IMAGES.flatten(1))
    assert isinstance(scorer._evaluate, SequentialEvaluator)


def test_more_sets_than_a_group(monkeypatch):
    monkeypatch.setattr("paramdiff.scoring.stacked.STACK_BYTES", 4 * 19 * 4 * 11)
    network = mlp()
    names = list(network.state_dict())
    scorer = Scorer(network, network.state_dict(), names, IMAGES, batch_size=11)
    assert scorer._evaluate.group_size == 4
    sets = random_sets(network, names, 10)
    expected = plain_logits(network, sets, IMAGES).argmax(-1)
    assert torch.equal(scorer.predict(iter(sets)).long(), expected)


def test_streaming_equals_keeping_and_respects_the_budget():
    network = small_cnn()
    names = ["4.weight", "4.bias"]
    sets = random_sets(network, names)
    bytes_per_example = 16 * 4 * 4 * 4  # what crosses the cut
    kept = Scorer(network, network.state_dict(), names, IMAGES)
    streamed = Scorer(
        network, network.state_dict(), names, IMAGES, memory_budget=3 * bytes_per_example + 1
    )
    assert (kept.num_chunks, streamed.num_chunks) == (1, 4)
    assert streamed.prefix.batches(0) is not streamed.prefix.batches(0)
    assert kept.prefix.batches(0) is kept.prefix.batches(0)
    assert torch.equal(streamed.predict(iter(sets)), kept.predict(sets))
    for parameters in sets:
        logits = kept.logits(parameters)
        torch.testing.assert_close(streamed.logits(parameters), logits, rtol=0, atol=1e-6)


@dataclass
class OnAccess:
    """Examples that exist only while they are looked at."""

    examples: torch.Tensor
    most: int = 0

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, rows):
        found = self.examples[rows].clone()
        self.most = max(self.most, len(found))
        return found


@pytest.mark.parametrize("memory_budget", [2**30, 3 * 16 * 4 * 4 * 4 + 1])
def test_examples_that_are_decoded_on_access_are_streamed(memory_budget):
    network = small_cnn()
    names = ["4.weight", "4.bias"]
    sets = random_sets(network, names)
    options = {"memory_budget": memory_budget, "batch_size": 4}
    kept = Scorer(network, network.state_dict(), names, IMAGES, **options)
    inputs = OnAccess(IMAGES)
    scorer = Scorer(network, network.state_dict(), names, inputs, **options)
    assert scorer.num_chunks == kept.num_chunks
    assert torch.equal(scorer.predict(sets), kept.predict(sets))
    assert torch.equal(scorer.logits(sets[0]), kept.logits(sets[0]))
    assert inputs.most <= 4


def test_a_budget_below_one_example_still_scores():
    network = small_cnn()
    scorer = Scorer(network, network.state_dict(), ["4.bias"], IMAGES, memory_budget=1)
    assert scorer.num_chunks == len(IMAGES)
    assert scorer.predict(random_sets(network, ["4.bias"])).shape == (5, len(IMAGES))


def test_networks_that_want_contiguous_feature_maps():
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(1, 4, 3)
            self.head = nn.Linear(144, 5)

        def forward(self, x):
            return self.head(self.body(x).view(x.shape[0], -1))

    scorer = assert_equals_plain_loop(Viewing(), ["head.weight"], IMAGES, batch_size=4)
    assert scorer.cut.reason is None
    assert_equals_plain_loop(Viewing(), ["body.weight"], IMAGES, batch_size=4)


def test_nothing_given_changes():
    network = small_cnn().train()
    base = copy.deepcopy(network.state_dict())
    given, inputs = copy.deepcopy(base), IMAGES.clone()
    scorer = Scorer(network, given, ["4.weight"], inputs)
    values = copy.deepcopy(scorer.prefix.batches(0))
    sets = random_sets(network, ["4.weight"])
    scorer.predict(sets)
    scorer.logits(sets[0])
    assert network.training and network[2].inplace
    assert torch.equal(inputs, IMAGES)
    for name, tensor in base.items():
        assert torch.equal(network.state_dict()[name], tensor)
        assert torch.equal(given[name], tensor)
    for batch, before in zip(scorer.prefix.batches(0), values, strict=True):
        assert all(map(torch.equal, batch, before))


def test_untraceable_networks_are_scored_whole():
    network = BranchOnValue()
    scorer = Scorer(network, network.state_dict(), ["head.weight"], torch.randn(9, 6))
    assert "cannot trace" in scorer.cut.reason
    assert_equals_plain_loop(network, ["head.weight"], torch.randn(9, 6))


@pytest.mark.parametrize("build, name", [(mlp, "3.weight"), (small_cnn, "4.bias")])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_name_their_set(build, name, value):
    network = build()
    sets = random_sets(network, [name])
    sets[3][name].view(-1)[0] = value
    scorer = Scorer(network, network.state_dict(), [name], IMAGES)
    with pytest.raises(UserError, match="parameter set 3: its logits are not finite"):
        scorer.predict(sets)


def test_large_logits_are_finite():
    network = mlp()
    scorer = Scorer(network, network.state_dict(), ["3.weight"], IMAGES)
    sets = [{"3.weight": torch.full((5, 14), 1e38)} for _ in range(2)]
    logits = scorer.logits(sets[0])
    assert logits.isfinite().all() or not logits.sum().isfinite()


def test_randomness_at_test_time_warns():
    class NoisyNetwork(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(64, 5)

        def forward(self, x):
            return self.head(nn.functional.dropout(x, 0.5, training=True))

    network = NoisyNetwork()
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match="random at test time"):
        scorer = Scorer(network, network.state_dict(), ["head.bias"], IMAGES.flatten(1))
    assert not scorer.is_deterministic
    assert scorer.cut.reason is not None
    assert torch.equal(torch.get_rng_state(), state)


def test_probabilities_come_one_set_at_a_time():
    network = small_cnn()
    sets = random_sets(network, ["4.weight"])
    scorer = Scorer(network, network.state_dict(), ["4.weight"], IMAGES)
    expected = plain_logits(network, sets, IMAGES).softmax(-1)
    for found, probabilities in zip(scorer.probabilities(sets), expected, strict=True):
        torch.testing.assert_close(found, probabilities, rtol=0, atol=1e-5)
    assert not found.is_inference()


def test_other_precisions_are_cast_like_load_state_dict_does():
    network = mlp()
    sets = random_sets(network, ["3.weight"])
    double = [{name: tensor.double() for name, tensor in one.items()} for one in sets]
    scorer = Scorer(network, network.state_dict(), ["3.weight"], IMAGES)
    assert torch.equal(scorer.predict(double), scorer.predict(sets))


def test_many_classes_need_wider_labels():
    network = nn.Sequential(nn.Linear(2, 32_768))
    scorer = Scorer(network, network.state_dict(), ["0.bias"], torch.randn(3, 2))
    bias = torch.zeros(32_768)
    bias[-1] = 100
    labels = scorer.predict([{"0.bias": bias}])
    assert labels.dtype == torch.int32 and (labels == 32_767).all()


def test_no_parameter_sets():
    network = mlp()
    scorer = Scorer(network, network.state_dict(), ["3.weight"], IMAGES)
    assert scorer.predict([]).shape == (0, len(IMAGES))


def test_user_mistakes_are_named():
    network = mlp()
    base = network.state_dict()
    with pytest.raises(UserError, match=r"not the network's.*1\.weight"):
        Scorer(network, {"3.weight": base["3.weight"]}, ["3.weight"], IMAGES)
    with pytest.raises(UserError, match=r"buffer '9\.bias'"):
        Scorer(network, base, ["9.bias"], IMAGES)
    with pytest.raises(UserError, match="no examples"):
        Scorer(network, base, ["3.weight"], IMAGES[:0])
    with pytest.raises(UserError, match=r"logits \[examples, classes\]"):
        Scorer(
            nn.Sequential(nn.Conv2d(1, 2, 3)),
            nn.Sequential(nn.Conv2d(1, 2, 3)).state_dict(),
            ["0.bias"],
            IMAGES,
        )
    scorer = Scorer(network, base, ["3.weight"], IMAGES)
    with pytest.raises(UserError, match=r"parameter set 1: tensor .* is missing"):
        scorer.predict([base, {}])
    with pytest.raises(UserError, match=r"parameter set 0: .* has shape"):
        scorer.predict([{"3.weight": torch.zeros(2, 2)}])
