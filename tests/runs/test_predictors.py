"""How the evaluation asks a task's network: labels, probabilities and new statistics."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.runs.predictors import build_predictor, untrained_vectors
from paramdiff.tasks.base import OODInputs, Scores, Split, seeded_network
from paramdiff.tasks.classification import ClassificationTask
from paramdiff.tasks.custom import CustomTask
from paramdiff.zoo.zoo import Zoo, ZooIndex

NAMES = ["norm.weight", "norm.bias"]
CPU = torch.device("cpu")


class Network(nn.Module):
    """Normalized features and a linear layer."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, inputs):
        return self.head(self.norm(inputs))


class Dropping(Network):
    """Dropout that nobody can switch off."""

    def forward(self, inputs):
        return self.head(F.dropout(self.norm(inputs), 0.5, training=True))


def split(num, seed, *, sort=False):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (num,), generator=generator)
    labels = labels.sort().values if sort else labels
    inputs = torch.randn(num, 6, generator=generator) + 10 * F.one_hot(labels, 6)
    return Split(inputs, labels)


def task(network=Network, **fields):
    return ClassificationTask(
        "points", split(90, 0, sort=True), split(20, 1), split(50, 2), network, **fields
    )


def zoo(given, num=4):
    network = seeded_network(given, 7)
    base = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    layout = ParameterLayout.of(base, [name for name in NAMES if name in base] or list(base))
    vectors = torch.randn(num, layout.num_parameters, generator=torch.Generator().manual_seed(3))
    index = ZooIndex(layout=layout.to_json(), hold_out="none", checkpoints=[])
    return Zoo(vectors, vectors[:0], layout, base, index)


def by_hand(given, made, vector, inputs):
    network = given.build_network()
    network.load_state_dict(made.base | made.layout.unflatten(vector))
    with torch.no_grad():
        return network.eval()(inputs)


def test_answers_are_those_of_either_split():
    given = task()
    made = zoo(given)
    predictor = build_predictor(given, made, CPU)
    found = predictor.predict(made.originals)
    assert found.validation.shape == (4, 20) and found.test.shape == found.wrong.shape == (4, 50)
    for index, vector in enumerate(made.originals):
        labels = by_hand(given, made, vector, given.test.inputs).argmax(1)
        assert found.labels[index].equal(labels.to(found.labels))
        assert found.test[index].equal(labels == given.test.labels)
        assert found.wrong[index].equal(labels != given.test.labels)
        labels = by_hand(given, made, vector, given.validation.inputs).argmax(1)
        assert found.validation[index].equal(labels == given.validation.labels)
    assert (predictor.num_validation, predictor.num_test) == (20, 50)
    assert predictor.test_truth.equal(given.test.labels)
    assert (predictor.score_name, predictor.is_fraction) == ("accuracy", True)
    assert predictor.is_deterministic
    assert predictor.out_of_distribution is None
    alone = predictor.predict_validation(made.originals)
    assert alone.values.equal(found.validation) and alone.wrong.equal(~found.validation)


@pytest.mark.parametrize("num_foreign", [0, 15])
def test_probabilities_are_those_of_test_then_foreign_inputs(num_foreign):
    foreign = OODInputs("noise", torch.randn(15, 6)) if num_foreign else None
    given = task(out_of_distribution=foreign)
    made = zoo(given)
    predictor = build_predictor(given, made, CPU)
    inputs = torch.cat([given.test.inputs, *([foreign.inputs] if foreign else [])])
    found = list(predictor.probabilities(made.originals))
    assert len(found) == 4
    for vector, probabilities in zip(made.originals, found, strict=True):
        expected = by_hand(given, made, vector, inputs).softmax(1)
        torch.testing.assert_close(probabilities, expected)
    if foreign:
        assert predictor.out_of_distribution.description == "noise"
        assert predictor.out_of_distribution.num_examples == 15


def test_new_statistics_are_those_of_training_inputs_in_any_order():
    """The split comes class by class; of few examples of it all classes must be seen."""
    given = task()
    made = zoo(given)
    spoiled = replace(made, base={**made.base, "norm.running_mean": torch.full((6,), 40.0)})
    again = build_predictor(given, spoiled, CPU, recalibrate=True).reestimated
    found = again.predict(made.originals).test
    network = given.build_network()
    for vector, is_right in zip(made.originals, found, strict=True):
        network.load_state_dict(made.base | made.layout.unflatten(vector))
        network.norm.reset_running_stats()
        network.norm.momentum = None
        with torch.no_grad():
            network.train()(given.train.inputs)
            expected = network.eval()(given.test.inputs).argmax(1)
        assert (is_right == (expected == given.test.labels)).float().mean() > 0.97


def test_what_trains_and_what_chooses_come_from_either_split():
    given = task()
    made = zoo(given)
    training = build_predictor(given, made, CPU).training
    vector, rows = made.originals[1].clone().requires_grad_(), torch.tensor([80, 2, 2])
    found = training.logits(vector, rows)
    torch.testing.assert_close(
        found.detach(), by_hand(given, made, vector.detach(), given.train.inputs[rows])
    )
    assert training.labels.equal(given.train.labels)
    expected = [
        F.cross_entropy(
            by_hand(given, made, one, given.validation.inputs), given.validation.labels
        )
        for one in made.originals
    ]
    found = training.validation_loss(made.originals)
    torch.testing.assert_close(found, torch.stack(expected).to(found), rtol=1e-4, atol=1e-5)
    training.label_loss(vector, rows).backward()
    assert vector.grad.abs().min() > 0


def test_the_inputs_for_new_statistics_come_from_the_whole_split(monkeypatch):
    """Of 90 inputs that are sorted by class, 30 hold all three classes in proportion."""
    from paramdiff.runs import predictors as predictor

    monkeypatch.setattr(predictor, "NUM_RECALIBRATION_INPUTS", 30)
    seen = []

    class Spy(predictor.Reestimator):
        def __init__(self, network, base, training, *rest, **options):
            seen.append(training)
            super().__init__(network, base, training, *rest, **options)

    monkeypatch.setattr(predictor, "Reestimator", Spy)
    given = task()
    for number in range(2):
        made = zoo(given)
        again = build_predictor(given, made, CPU, recalibrate=True).reestimated
        assert len(seen) == number  # nothing is read before somebody asks
        again.predict_validation(made.originals)
    assert seen[0].equal(seen[1]) and len(seen[0]) == 30
    classes = torch.bincount(seen[0].argmax(1), minlength=3)
    assert classes.min() >= 4


def test_without_batch_normalization_new_statistics_are_refused():
    given = task(lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)))
    with pytest.raises(UserError, match=r"evaluation\.recalibrate_batchnorm"):
        build_predictor(given, zoo(given), CPU, recalibrate=True)


def test_dropout_left_on_is_told():
    given = task(Dropping)
    with pytest.warns(UserWarning, match="random at test time"):
        predictor = build_predictor(given, zoo(given), CPU)
    assert not predictor.is_deterministic


def test_logits_that_are_not_finite_are_refused():
    given = task()
    made = zoo(given)
    made.originals[2] = 3e38
    predictor = build_predictor(given, made, CPU)
    with pytest.raises(UserError, match="parameter set 2: its logits are not finite"):
        predictor.predict(made.originals)


def test_untrained_vectors_are_the_selected_tensors_of_untrained_networks():
    given = task()
    layout = ParameterLayout.of(given.build_network().state_dict(), ["head.weight"])
    untrained = untrained_vectors(given, layout)
    before = torch.get_rng_state()
    assert untrained(3).equal(untrained(3)) and not untrained(3).equal(untrained(4))
    assert untrained(3).equal(seeded_network(given, 3).head.weight.detach().flatten())
    assert torch.get_rng_state().equal(before)


def test_values_that_are_the_same_whatever_the_seed_are_not_called_untrained():
    fixed = Network()
    given = task(lambda: Network(), build_pretrained=lambda: fixed)
    assert untrained_vectors(given, zoo(given).layout) is not None
    given = task(lambda: fixed)
    assert untrained_vectors(given, zoo(given).layout) is None


def test_whether_test_data_select_is_known():
    given = task()
    shared = replace(given, validation=given.test)
    for one, is_shared in ((given, False), (shared, True)):
        assert build_predictor(one, zoo(one), CPU).selects_on_test == is_shared
        scored = build_predictor(_scored(is_shared), zoo(one), CPU)
        assert scored.selects_on_test == is_shared
        predictions = scored.predict(zoo(one).originals)
        assert predictions.validation.equal(predictions.test) == is_shared


def _scored(is_shared):
    def score(network, split):
        return Scores(torch.tensor([1.0 if split == "test" else 2.0]))

    return CustomTask(
        "one number", "R2", False, 1, 1, 1, Network, None, score, selects_on_test=is_shared
    )
