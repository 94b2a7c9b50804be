"""BatchNorm statistics are re-estimated where they depend on what is selected, and it matters."""

from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from paramdiff.parameters.layout import ParameterLayout
from paramdiff.runs import ray_jobs as parallel_predictors
from paramdiff.runs.predictors import build_predictor
from paramdiff.tasks.base import OODInputs, Split, seeded_network
from paramdiff.tasks.classification import ClassificationTask
from paramdiff.zoo.zoo import Zoo, ZooIndex

CPU = torch.device("cpu")


def network():
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16, 10)),
    )


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    inputs = torch.tensor(found.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(found.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    parts = [Split(inputs[rows], labels[rows]) for rows in order.split([900, 400, 497])]
    foreign = OODInputs("noise", torch.randn(20, 1, 8, 8))
    return ClassificationTask("digits", *parts, network, out_of_distribution=foreign)


@pytest.fixture(scope="module")
def runs(digits):
    """Four networks that were trained from initial values of their own."""
    trained = []
    for seed in range(4):
        made = seeded_network(digits, seed).train()
        optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(60):
            rows = torch.randint(len(digits.train), (100,), generator=generator)
            loss = F.cross_entropy(made(digits.train.inputs[rows]), digits.train.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trained.append({name: tensor.clone() for name, tensor in made.eval().state_dict().items()})
    return trained


def zoo_of(states, names=None):
    names = [n for n, t in states[0].items() if t.is_floating_point()] if names is None else names
    layout = ParameterLayout.of(states[0], names)
    vectors = torch.stack([layout.flatten(state) for state in states])
    index = ZooIndex(layout=layout.to_json(), hold_out="none", checkpoints=[])
    return Zoo(vectors, vectors[:0], layout, states[0], index)


def test_an_average_of_runs_rises_and_the_runs_stay_as_they_are(digits, runs):
    zoo = zoo_of(runs)
    predictor = build_predictor(digits, zoo, CPU)
    average = zoo.originals.mean(0, keepdim=True)
    before, after = predictor.predict(average), predictor.reestimated.predict(average)
    assert after.test.float().mean() > before.test.float().mean() + 0.1
    kept, again = (
        each.predict(zoo.originals).test.float().mean()
        for each in (predictor, predictor.reestimated)
    )
    assert kept > 0.9 and abs(again - kept) < 0.02


def test_it_is_update_bn_whatever_is_asked(digits, runs):
    zoo = zoo_of(runs)
    again = build_predictor(digits, zoo, CPU).reestimated
    vectors = zoo.originals[:2].mean(0, keepdim=True)
    expected = network()
    expected.load_state_dict(runs[0] | zoo.layout.unflatten(vectors[0]))
    update_bn(digits.train.inputs.split(450), expected)
    expected.eval()
    with torch.no_grad():
        own, test = (expected(part.inputs) for part in (digits.validation, digits.test))
        foreign = expected(digits.out_of_distribution.inputs)
    found = again.predict(vectors)
    assert (found.labels[0] == test.argmax(1)).float().mean() > 0.99  # batches in another order
    assert found.test.equal(found.labels == digits.test.labels)
    alone = again.predict_validation(vectors)
    assert (alone.values[0] == (own.argmax(1) == digits.validation.labels)).float().mean() > 0.99
    assert alone.values.equal(found.validation) and alone.wrong.equal(~alone.values)
    (probabilities,) = again.probabilities(vectors)
    torch.testing.assert_close(
        probabilities, torch.cat([test, foreign]).softmax(1), rtol=0.02, atol=0.02
    )
    assert again.out_of_distribution.num_examples == 20 and again.test_truth is not None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["8.weight", "8.bias"], False),
        (["5.weight", "5.bias", "8.weight"], False),
        (["4.weight"], False),  # all groups have the base's statistics, generated or not
        (["1.weight", "1.bias"], False),
        (["8.weight", "5.running_var"], True),
    ],
)
def test_statistics_that_are_not_selected_are_the_same_for_every_group(
    digits, runs, names, expected
):
    predictor = build_predictor(digits, zoo_of(runs, names), CPU)
    assert (predictor.reestimated is not None) == expected


def test_what_is_asked_for_is_done_all_the_same(digits, runs):
    zoo = zoo_of(runs, ["8.weight", "8.bias"])
    spoiled = replace(zoo, base=zoo.base | {"5.running_mean": zoo.base["5.running_mean"] + 9})
    predictor = build_predictor(digits, spoiled, CPU, recalibrate=True)
    own, again = (
        each.predict(zoo.originals[:1]).test.float().mean()
        for each in (predictor, predictor.reestimated)
    )
    assert again > 0.9 > own


class Here:
    """Workers that are this process."""

    num_workers = 2

    def __init__(self):
        self.pieces = []

    def job(self, prepare, *material):
        """As ``FanOut.job``."""
        work = prepare(*material)

        def run(pieces, progress):
            self.pieces += pieces
            return [work(piece) for piece in pieces]

        return type("Job", (), {"run": staticmethod(run)})


def test_workers_answer_every_question_alike(digits, runs):
    zoo, workers = zoo_of(runs), Here()
    predictor = build_predictor(digits, zoo, CPU)
    shared = parallel_predictors.distributed(predictor, digits, zoo, CPU, workers)
    vectors = zoo.originals[torch.arange(20) % 4] * torch.linspace(0.9, 1, 20)[:, None].clamp(0)
    for here, there in ((predictor, shared), (predictor.reestimated, shared.reestimated)):
        assert there.predict(vectors).labels.equal(here.predict(vectors).labels)
        assert there.predict_validation(vectors).wrong.equal(
            here.predict_validation(vectors).wrong
        )
        assert there.predict_validation(vectors[:2]).values.equal(
            here.predict_validation(vectors[:2]).values
        )
    assert {(question, again) for question, again, _ in workers.pieces} == {
        *(
            ("predict", False),
            ("predict_validation", False),
            ("predict", True),
            ("predict_validation", True),
        ),
    }
    assert sum(len(piece) for *_, piece in workers.pieces) == 80
