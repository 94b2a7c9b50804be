"""Tasks by name: splits that do not overlap, and refusals."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from paramdiff.errors import UserError
from paramdiff.tasks.catalogue import TASKS, TaskSettings, build_task
from paramdiff.tasks.digits import digits
from paramdiff.tasks.own import OwnTask
from paramdiff.tasks.task import Split, Task, seeded_network

SPLITS = ["train", "validation", "test"]


@pytest.fixture(scope="module")
def task():
    return digits()


def splits(task):
    return [getattr(task, name) for name in SPLITS]


def tiny(seed):
    one = Split(torch.full((2, 3), float(seed)), torch.tensor([0, 1]))
    return Task("tiny", one, one, one, lambda: nn.Linear(3, 2))


def refusal(name):
    with pytest.raises(UserError) as caught:
        build_task(TaskSettings(name=name))
    message = str(caught.value)
    assert message.startswith("task.name: ")
    assert len(message.splitlines()) == 1
    return message


def test_digits_sizes(task):
    assert [len(split) for split in splits(task)] == [300, 497, 1000]
    for split in splits(task):
        assert split.inputs.shape == (len(split), 1, 8, 8)
        assert split.inputs.dtype == torch.float32
        assert split.labels.dtype == torch.int64
        assert 0 <= split.inputs.min() < split.inputs.max() <= 1


@pytest.mark.parametrize("seed", [0, 7])
def test_digits_are_a_partition(seed):
    """All images of scikit-learn once: in no two splits, with their own labels."""
    images, labels = load_digits(return_X_y=True)
    rows = [
        (tuple((16 * image.flatten()).tolist()), int(label))
        for split in splits(digits(seed))
        for image, label in zip(split.inputs, split.labels, strict=True)
    ]
    expected = [(tuple(image), int(label)) for image, label in zip(images, labels, strict=True)]
    assert len(set(expected)) == len(expected)  # no image is there twice
    assert sorted(rows) == sorted(expected)


def test_digits_are_stratified(task):
    _, labels = load_digits(return_X_y=True)
    overall = torch.bincount(torch.tensor(labels), minlength=10) / len(labels)
    for split in splits(task):
        counts = torch.bincount(split.labels, minlength=10)
        assert (counts - overall * len(split)).abs().max() <= 1.5


def test_digits_depend_on_the_seed_alone(task):
    before = torch.get_rng_state()
    same, other = digits(0), digits(1)
    assert torch.get_rng_state().equal(before)
    for name in SPLITS:
        assert getattr(same, name).inputs.equal(getattr(task, name).inputs)
        assert getattr(same, name).labels.equal(getattr(task, name).labels)
        assert not getattr(other, name).inputs.equal(getattr(task, name).inputs)


def test_the_digits_network_takes_the_images(task):
    network = seeded_network(task, 0)
    logits = network(task.train.inputs[:5])
    assert logits.shape == (5, 10)
    logits.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_initial_weights_depend_on_the_seed_alone(task):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    states = [seeded_network(task, seed).state_dict() for seed in (0, 0, 1)]
    assert torch.get_rng_state().equal(before)
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert not states[0]["head.weight"].equal(states[2]["head.weight"])


def test_known_names():
    assert build_task(TaskSettings(name="digits", seed=3)).train.inputs.equal(
        digits(3).train.inputs
    )


def test_a_name_added_to_the_tasks(monkeypatch):
    monkeypatch.setitem(TASKS, "tiny", lambda settings: OwnTask(settings, tiny))
    assert build_task(TaskSettings(name="tiny")).name == "tiny"


def test_unknown_names_are_told_the_nearest():
    assert "'digts'; the nearest is 'digits'" in refusal("digts")
    assert "'cifar100'" in refusal("cifar_100")
    assert "the nearest is" in refusal("")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's, on the path."""
    (tmp_path / "users_tasks.py").write_text(
        "import torch\n"
        "from paramdiff.tasks.task import Split, Task\n"
        "def tiny(seed):\n"
        "    one = Split(torch.full((2, 3), float(seed)), torch.tensor([0, 1]))\n"
        "    return Task('tiny', one, one, one, lambda: torch.nn.Linear(3, 2))\n"
        "def no_task(seed):\n"
        "    return {'seed': seed}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("module")
def test_a_users_function():
    task = build_task(TaskSettings(name="users_tasks:tiny", seed=5))
    assert task.name == "tiny"
    assert task.train.inputs.eq(5).all()


@pytest.mark.usefixtures("module")
def test_a_function_that_returns_no_task():
    message = refusal("users_tasks:no_task")
    assert "'users_tasks:no_task'" in message
    assert "dict" in message


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("name", ["no_such_module:tiny", "users_tasks:nothing", ":tiny", "a:b:c"])
def test_functions_that_cannot_be_found(name):
    message = refusal(name)
    assert repr(name) in message
    assert "imported" in message


@pytest.mark.parametrize(("num_inputs", "num_labels"), [(2, 3), (3, 2), (0, 0)])
def test_splits_of_other_lengths_are_refused(num_inputs, num_labels):
    with pytest.raises(UserError, match=f"{num_labels} labels and {num_inputs} inputs"):
        Split(torch.ones(num_inputs, 2), torch.zeros(num_labels, dtype=torch.int64))
