"""Sets that are evaluated side by side: the same labels, in order, and nothing left changed."""

import threading
from itertools import count

import pytest
import torch
from torch import nn

from paramdiff.errors import UserError
from paramdiff.networks.digits_cnn import DigitsNetwork
from paramdiff.scoring.score import Scorer
from paramdiff.scoring.side_by_side import side_by_side
from paramdiff.scoring.stack import OneByOne, Stacked

NORMS = ["norm2.weight", "norm2.bias", "norm3.weight", "norm3.bias"]
CHAIN = nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 5))


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def sets_of(network, names, num):
    own = network.state_dict()
    return [{name: own[name] + torch.randn_like(own[name]) for name in names} for _ in range(num)]


@pytest.mark.parametrize(
    ("network", "names", "inputs", "kind"),
    [
        (DigitsNetwork(), NORMS, torch.randn(60, 1, 8, 8), OneByOne),
        (CHAIN, ["2.weight", "0.bias"], torch.randn(60, 7), Stacked),
    ],
    ids=["one by one", "stacked"],
)
@pytest.mark.parametrize("num", [0, 1, 2, 9])
def test_two_threads_give_the_labels_of_one(network, names, inputs, kind, num, two_threads):
    sets = sets_of(network, names, num)
    together = Scorer(network, network.state_dict(), names, inputs)
    assert [type(evaluator) for evaluator in together._evaluators] == [kind, kind]
    seen = count()
    found = together.predict(sets, lambda: next(seen))
    assert next(seen) == num
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    alone = Scorer(network, network.state_dict(), names, inputs)
    assert len(alone._evaluators) == 1
    assert found.equal(alone.predict(sets))


def test_a_set_that_is_not_finite_is_named(two_threads):
    network = DigitsNetwork()
    sets = sets_of(network, NORMS, 7)
    sets[5]["norm3.bias"][3] = torch.nan
    scorer = Scorer(network, network.state_dict(), NORMS, torch.randn(20, 1, 8, 8))
    with pytest.raises(UserError, match="parameter set 5"):
        scorer.predict(sets)
    assert torch.get_num_threads() == 2


def test_no_two_threads_share_a_worker():
    barrier, busy = threading.Barrier(3, timeout=30), set()

    def work(worker, item):
        assert worker not in busy
        busy.add(worker)
        barrier.wait()
        busy.discard(worker)
        barrier.wait()
        return worker, item

    found = list(side_by_side("abc", iter(range(6)), work))
    assert [item for _, item in found] == list(range(6))
    assert {worker for worker, _ in found} == set("abc")


def test_items_are_read_as_they_are_needed():
    read = []

    def items():
        for item in range(100):
            read.append(item)
            yield item

    results = side_by_side("ab", items(), lambda worker, item: item)
    assert [next(results) for _ in range(2)] == [0, 1]
    assert len(read) == 2
    results.close()
