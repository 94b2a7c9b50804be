"""BatchNorm statistics estimated anew: torch's own procedure, and what it mends."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from paramdiff.scoring.batchnorm import Reestimator, statistics_of
from paramdiff.scoring.predict import Scorer

NUM_TRAINING, NUM_TEST = 400, 300
NAMES = ["2.weight", "2.bias"]


def data(num, seed):
    """Points about three corners, far from the origin."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (num,), generator=generator)
    inputs = torch.randn(num, 4, generator=generator) + 20
    inputs[torch.arange(num), labels] += 4
    return inputs, labels


TRAINING, _ = data(NUM_TRAINING, 0)
TEST, TRUTH = data(NUM_TEST, 1)


def network(*, dropout=0.0):
    """Normalize, drop, and choose the largest coordinate: right with the right statistics."""
    made = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(dropout), nn.Linear(4, 3))
    with torch.no_grad():
        made[2].weight.copy_(torch.eye(3, 4))
        made[2].bias.zero_()
    update_bn(TRAINING.split(100), made)
    return made.eval()


def spoiled(made):
    """Statistics of some other network."""
    base = copy.deepcopy(made.state_dict())
    base["0.running_mean"] += torch.tensor([50.0, -50.0, 0.0, 0.0])
    base["0.running_var"] *= 100
    return base


def accuracy(labels):
    return (labels == TRUTH).float().mean(1)


def own_set(made):
    return {name: made.state_dict()[name] for name in NAMES}


def labels_of(made, base, sets, training=TRAINING, **options):
    """Of the test examples, each set with the statistics of its own."""
    reestimator = Reestimator(made, base, training, **options)
    names = [*sets[0], *reestimator.names]
    whole = [own | reestimator.statistics(own) for own in sets]
    return Scorer(made, base, names, TEST).predict(whole).long()


def test_accuracy_comes_back():
    made = network()
    base, sets = spoiled(made), [own_set(made)]
    before = Scorer(made, base, NAMES, TEST).predict(sets)
    after = labels_of(made, base, sets)
    sound = Scorer(made, made.state_dict(), NAMES, TEST).predict(sets)
    assert accuracy(before).item() < 0.5
    assert accuracy(sound).item() > 0.9
    assert accuracy(after).item() == pytest.approx(accuracy(sound).item(), abs=0.01)


@pytest.mark.parametrize("batch_size", [100, 400, 500])
def test_it_is_torchs_update_bn(batch_size):
    made = network()
    sets = [{"2.weight": torch.randn(3, 4), "2.bias": torch.randn(3)} for _ in range(3)]
    found = labels_of(made, spoiled(made), sets, batch_size=batch_size)
    for own, labels in zip(sets, found, strict=True):
        other = network()
        other.load_state_dict(spoiled(made) | own)
        update_bn(TRAINING.split(min(batch_size, NUM_TRAINING)), other)
        with torch.no_grad():
            assert labels.equal(other.eval()(TEST).argmax(1))


def test_each_set_has_statistics_of_its_own():
    """A convolution before the layer is chosen: its statistics follow it, whatever came before."""
    made = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    names = ["0.weight", "0.bias"]
    sets = [{"0.weight": torch.randn(4, 4), "0.bias": torch.randn(4)} for _ in range(3)]
    reestimator = Reestimator(made, made.state_dict(), TRAINING)
    together = [reestimator.statistics(own) for own in sets]
    for number in (2, 0):
        alone = Reestimator(made, made.state_dict(), TRAINING).statistics(sets[number])
        for found in (alone, reestimator.statistics(sets[number])):
            assert found.keys() == {"1.running_mean", "1.running_var"}
            assert all(found[name].equal(together[number][name]) for name in found)
    assert not together[0]["1.running_mean"].allclose(together[1]["1.running_mean"])
    assert set(names) == set(sets[0])


@pytest.mark.parametrize("num", [101, 201, 2])
def test_no_batch_is_a_single_example(num):
    """BatchNorm refuses one value per channel; what is left over must not be alone."""
    made = network()
    labels = labels_of(made, spoiled(made), [own_set(made)], TRAINING[:num], batch_size=100)
    assert labels.shape == (1, NUM_TEST)
    assert num == 2 or accuracy(labels).item() > 0.8


def test_dropout_draws_the_same_every_time_and_nothing_from_the_global_stream():
    made = network(dropout=0.5)
    made.insert(2, nn.BatchNorm1d(4))  # its statistics depend on what is dropped
    sets = [{"3.weight": made[3].weight.detach(), "3.bias": made[3].bias.detach()}]
    before = torch.get_rng_state()
    first = labels_of(made, made.state_dict(), sets)
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(99)
    assert labels_of(made, made.state_dict(), sets).equal(first)


def test_the_network_given_is_not_changed():
    made = network()
    before = copy.deepcopy(made.state_dict())
    Reestimator(made, spoiled(made), TRAINING).statistics(own_set(made))
    assert all(made.state_dict()[name].equal(tensor) for name, tensor in before.items())
    assert not made.training


def deep():
    return nn.Sequential(
        *(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU()),
        *(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)),
    )


def test_names_are_those_of_the_state_dict():
    assert statistics_of(deep()) == (
        *("1.running_mean", "1.running_var", "4.running_mean", "4.running_var"),
    )
    assert statistics_of(nn.BatchNorm1d(4)) == ("running_mean", "running_var")
    assert statistics_of(nn.LayerNorm(4)) == ()
