"""Tasks by name: splits that do not overlap, and refusals."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from paramdiff.errors import UserError
from paramdiff.tasks.base import Split, seeded_network, untrained_network
from paramdiff.tasks.classification import ClassificationTask
from paramdiff.tasks.digits import digits
from paramdiff.tasks.registry import TASKS, build_task, describe_task
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.tasks.user_task import UserTask

SPLITS = ["train", "validation", "test"]


@pytest.fixture(scope="module")
def task():
    return digits()


def splits(task):
    return [getattr(task, name) for name in SPLITS]


def tiny(seed):
    one = Split(torch.full((2, 3), float(seed)), torch.tensor([0, 1]))
    return ClassificationTask("tiny", one, one, one, lambda: nn.Linear(3, 2))


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


def test_the_papers_protocol_trains_on_all_but_the_test_images(task):
    paper = build_task(TaskSettings(name="digits", protocol="paper"))
    assert paper.selects_on_test and not task.selects_on_test
    assert (len(paper.train), len(paper.validation), len(paper.test)) == (797, 1000, 1000)
    assert paper.test.inputs.equal(task.test.inputs)
    images = torch.cat([task.train.inputs, task.validation.inputs])
    assert paper.train.inputs.flatten(1).sum() == pytest.approx(float(images.sum()))


@pytest.mark.parametrize("protocol", ["validation", "paper"])
def test_digits_are_described_as_they_are(protocol):
    settings = TaskSettings(name="digits", protocol=protocol)
    described, built = describe_task(settings), build_task(settings)
    sizes = (described.num_train, described.num_validation, described.num_test)
    assert sizes == tuple(len(split) for split in splits(built))
    assert described.input_shape == built.test.inputs.shape[1:]
    assert described.build_network().state_dict().keys() == (
        built.build_network().state_dict().keys()
    )


def test_digits_with_another_network_and_crops():
    pytest.importorskip("torchvision")
    task = build_task(TaskSettings(name="digits", network={"name": "resnet20"}, augment=True))
    crops = task.augmented(torch.arange(5), torch.Generator().manual_seed(0))
    assert task.build_network()(crops).shape == (5, 10)
    assert not crops.equal(task.train.inputs[:5])


@pytest.mark.parametrize(
    ("change", "field"), [({"root": "data"}, "task.root"), ({"image_size": 16}, "task.image_size")]
)
def test_what_digits_cannot_have(change, field):
    with pytest.raises(UserError, match=f"^{field}: "):
        build_task(TaskSettings(name="digits", **change))


def test_training_starts_from_published_weights_where_a_task_has_them(task):
    def ones():
        network = nn.Linear(3, 2)
        nn.init.ones_(network.weight)
        return network

    data = Split(torch.ones(2, 3), torch.tensor([0, 1]))
    plain = ClassificationTask("plain", data, data, data, lambda: nn.Linear(3, 2))
    published = ClassificationTask(
        "plain", data, data, data, lambda: nn.Linear(3, 2), build_pretrained=ones
    )
    assert seeded_network(published, 0).weight.eq(1).all()
    assert not seeded_network(plain, 0).weight.eq(1).any()
    assert untrained_network(published, 0).weight.equal(seeded_network(plain, 0).weight)
    again = seeded_network(published, 0)
    assert again.bias.equal(seeded_network(published, 0).bias)  # the seed's


def test_known_names():
    assert build_task(TaskSettings(name="digits", seed=3)).train.inputs.equal(
        digits(3).train.inputs
    )


def test_a_name_added_to_the_tasks(monkeypatch):
    monkeypatch.setitem(TASKS, "tiny", lambda settings: UserTask(settings, tiny))
    assert build_task(TaskSettings(name="tiny")).name == "tiny"


def test_unknown_names_are_told_the_nearest():
    assert "'digts'; the nearest is 'digits'" in refusal("digts")
    assert "'cifar100'" in refusal("cifar_100")
    assert "''; expected one of 'digits', 'wine', " in refusal("")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's, on the path."""
    (tmp_path / "users_tasks.py").write_text(
        "import torch\n"
        "from paramdiff.tasks.base import Split\n"
        "from paramdiff.tasks.classification import ClassificationTask as Task\n"
        "def tiny(seed):\n"
        "    one = Split(torch.full((2, 3), float(seed)), torch.tensor([0, 1]))\n"
        "    return Task('tiny', one, one, one, lambda: torch.nn.Linear(3, 2))\n"
        "def more_labels(seed):\n"
        "    one = Split(torch.ones(3, 3), torch.tensor([0, 1, 2]))\n"
        "    return Task('tiny', one, one, one, lambda: torch.nn.Linear(3, 2))\n"
        "def other_inputs(seed):\n"
        "    one = Split(torch.ones(2, 4), torch.tensor([0, 1]))\n"
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
def test_a_users_function_is_described_by_its_data():
    described = describe_task(TaskSettings(name="users_tasks:tiny", seed=5))
    assert described.input_shape == (3,) and described.num_classes == 2
    assert (described.num_train, described.num_validation, described.num_test) == (2, 2, 2)


@pytest.mark.usefixtures("module")
def test_a_users_function_whose_network_does_not_suit_its_data():
    assert "below 2, the number of its network's classes, but one is 2" in refusal(
        "users_tasks:more_labels"
    )
    assert "cannot take inputs of shape (2, 4)" in refusal("users_tasks:other_inputs")


@pytest.mark.usefixtures("module")
def test_a_users_function_decides_all_but_the_seed():
    with pytest.raises(UserError, match=r"^task\.augment: 'users_tasks:tiny' decides this itself"):
        build_task(TaskSettings(name="users_tasks:tiny", augment=True))
    build_task(TaskSettings(name="users_tasks:tiny", augment=False))


@pytest.mark.usefixtures("module")
def test_a_function_that_returns_no_task():
    message = refusal("users_tasks:no_task")
    assert "'users_tasks:no_task'" in message
    assert "dict" in message


def seedless():
    return tiny(7)


ready = tiny(9)


def of_two(seed, size):
    return tiny(seed)


def failing(seed):
    raise RuntimeError(f"no data\nfor {seed}")


def test_a_function_of_nothing_and_a_task_itself():
    for name, value in (("seedless", 7), ("ready", 9)):
        assert build_task(TaskSettings(name=f"{__name__}:{name}")).train.inputs.eq(value).all()


def test_a_function_of_something_else_or_that_fails_is_one_line():
    assert refusal(f"{__name__}:of_two").endswith("found of_two(seed, size)")
    assert "a function (seed) or ()" in refusal(f"{__name__}:of_two")
    message = refusal(f"{__name__}:failing")
    assert "failed: RuntimeError: no data for 0 (" in message and "test_tasks.py:" in message


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("name", ["no_such_module:tiny", "users_tasks:nothing", ":tiny", "a:b:c"])
def test_functions_that_cannot_be_found(name):
    message = refusal(name)
    assert repr(name) in message
    assert "expected module:function" in message if name == ":tiny" else "imported" in message


@pytest.mark.parametrize(("num_inputs", "num_labels"), [(2, 3), (3, 2), (0, 0)])
def test_splits_of_other_lengths_are_refused(num_inputs, num_labels):
    with pytest.raises(UserError, match=f"{num_labels} labels for {num_inputs} inputs"):
        Split(torch.ones(num_inputs, 2), torch.zeros(num_labels, dtype=torch.int64))


def test_patches_of_photographs_are_no_digits_but_look_alike(task):
    foreign = task.out_of_distribution
    assert foreign.description == "8x8 patches of photographs"
    assert foreign.inputs.shape == (1000, 1, 8, 8)
    assert foreign.inputs.dtype == torch.float32
    flat = foreign.inputs.flatten(1)
    assert flat.min() == 0 and flat.max() == 1
    # each is stretched to the whole range, but for those of one brightness
    assert (flat.amax(1) == 1).float().mean() > 0.95
    assert len(flat.unique(dim=0)) > 950
    assert foreign.inputs.equal(digits(0).out_of_distribution.inputs)
    assert not foreign.inputs.equal(digits(1).out_of_distribution.inputs)
