"""The paper's image sets, read from tiny files in their real formats."""

from pathlib import Path

import numpy as np
import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.tasks.public import FACTS, FLOWERS_MD5, PUBLIC
from paramdiff.tasks.registry import build_task, describe_task
from paramdiff.tasks.task_settings import TaskSettings

from .formats import NUM_TEST, WRITERS, labels, pixels

pytest.importorskip("torchvision")

SHARED = Path(__file__).parents[3] / "shared" / "data"
EXPECTED = {  # examples to train on, to select and to test with; classes
    "cifar10": (180, 20, 20, 10),
    "cifar100": (300, 100, 100, 100),
    "mnist": (30, 10, 20, 10),
    "svhn": (30, 10, 20, 10),
    "stl10": (30, 10, 20, 10),
    "flowers102": (102, 102, 102, 102),
    "pets": (37, 37, 37, 37),
    "food101": (101, 101, 101, 101),
}


def settings(name, root, **changes):
    changes = {"network": {"name": "resnet20"}, "image_size": 32, **changes}
    return TaskSettings(name=name, root=root, **changes)


def lengths(task):
    return len(task.train), len(task.validation), len(task.test)


@pytest.fixture(params=list(WRITERS))
def name(request, tmp_path, monkeypatch):
    """A set's name; its files lie in ``tmp_path``."""
    WRITERS[request.param](tmp_path, monkeypatch)
    return request.param


def test_real_formats_become_tasks(name, tmp_path):
    num_train, num_validation, num_test, num_classes = EXPECTED[name]
    task = build_task(settings(name, tmp_path, augment=True))
    assert lengths(task) == (num_train, num_validation, num_test)
    channels = FACTS[name].channels
    for split in (task.train, task.validation, task.test):
        counts = torch.bincount(split.labels, minlength=num_classes)
        assert len(counts) == num_classes and counts.max() - counts.min() <= 1
        inputs = split.inputs[: min(7, len(split))]
        assert inputs.shape[1:] == (channels, 32, 32) and inputs.dtype == torch.float32
    inputs = task.augmented(torch.tensor([3, 0, 3]), torch.Generator().manual_seed(0))
    assert inputs.shape == (3, channels, 32, 32) and inputs.isfinite().all()
    assert task.build_network()(inputs).shape == (3, num_classes)
    assert not task.selects_on_test


def test_the_papers_protocol_selects_on_the_test_split(name, tmp_path):
    task = build_task(settings(name, tmp_path, protocol="paper"))
    num_train, num_validation, num_test, _ = EXPECTED[name]
    assert lengths(task) == (num_train + num_validation, num_test, num_test)
    assert task.selects_on_test


def test_training_and_validation_are_a_partition_by_seed(tmp_path, monkeypatch):
    WRITERS["cifar10"](tmp_path, monkeypatch)
    tasks = [build_task(settings("cifar10", tmp_path, seed=seed)) for seed in (0, 0, 1)]
    rows = [
        (set(t.train.inputs.numbers.tolist()), set(t.validation.inputs.numbers.tolist()))
        for t in tasks
    ]
    assert rows[0] == rows[1] != rows[2]
    for train, validation in rows:
        assert train | validation == set(range(200)) and not train & validation


@pytest.mark.parametrize("name", ["cifar10", "mnist", "svhn", "stl10"])
def test_pixels_and_labels_are_those_of_the_files(name, tmp_path, monkeypatch):
    WRITERS[name](tmp_path, monkeypatch)
    facts = FACTS[name]
    task = build_task(settings(name, tmp_path, image_size=None, protocol="paper"))
    seed = 5 if name == "cifar10" else 0  # its sixth file
    raw = pixels(NUM_TEST, facts.size, facts.channels, seed) / 255
    mean, std = (np.array(values).reshape(-1, 1, 1) for values in (facts.mean, facts.std))
    expected = torch.tensor((raw - mean) / std, dtype=torch.float32)
    torch.testing.assert_close(task.test.inputs[:], expected, rtol=1e-5, atol=1e-6)
    assert task.test.labels.tolist() == labels(NUM_TEST).tolist()


@pytest.mark.parametrize("name", ["flowers102", "pets", "food101"])
def test_image_files_belong_to_their_labels(name, tmp_path, monkeypatch):
    WRITERS[name](tmp_path, monkeypatch)
    task = build_task(settings(name, tmp_path, image_size=8))
    first = {"flowers102": 205, "pets": 0, "food101": 0}[name]  # what the color comes from
    red = (task.test.inputs[:][:, 0].mean((1, 2)) * FACTS[name].std[0] + FACTS[name].mean[0]) * 255
    expected = torch.tensor([10 * (first + label) % 256 for label in task.test.labels.tolist()])
    assert (red - expected).abs().max() < 4  # JPEG


def test_descriptions_tell_the_official_sizes_without_data(tmp_path):
    for name, facts in FACTS.items():
        described = describe_task(settings(name, tmp_path / "nowhere", protocol="paper"))
        assert described.num_classes == facts.num_classes
        assert described.num_train == facts.num_train
        assert described.num_validation == described.num_test == facts.num_test
        carved = describe_task(settings(name, tmp_path / "nowhere"))
        assert carved.num_train + carved.num_validation == facts.num_train
        assert carved.num_validation <= 5000
        logits = described.build_network()(torch.randn(1, *described.input_shape))
        assert logits.shape == (1, facts.num_classes)


def test_descriptions_agree_with_tasks(name, tmp_path, monkeypatch):
    facts = FACTS[name]
    num_train, num_validation, num_test, _ = EXPECTED[name]
    tiny = {"num_train": num_train + num_validation, "num_test": num_test}
    monkeypatch.setitem(FACTS, name, type(facts)(**{**vars(facts), **tiny}))
    for protocol in ("validation", "paper"):
        wanted = settings(name, tmp_path, protocol=protocol)
        described, task = describe_task(wanted), build_task(wanted)
        sizes = (described.num_train, described.num_validation, described.num_test)
        assert sizes == lengths(task)
        assert described.input_shape == task.test.inputs[:1].shape[1:]
        assert described.title == task.name


def test_checksums_are_torchvisions():
    from torchvision import datasets

    assert {file: md5 for file, md5 in datasets.Flowers102._file_dict.values()} == FLOWERS_MD5
    pets = [(Path(file.path).name, file.md5) for file in PUBLIC["pets"].archives(datasets)]
    theirs = datasets.OxfordIIITPet._RESOURCES
    assert pets == [(url.rsplit("/", 1)[-1], md5) for url, md5 in theirs]
    (food,) = PUBLIC["food101"].archives(datasets)
    assert food.md5 == datasets.Food101._MD5 and datasets.Food101._URL.endswith(food.path)


def test_an_image_that_is_missing_or_damaged(tmp_path, monkeypatch):
    WRITERS["pets"](tmp_path, monkeypatch)
    task = build_task(settings("pets", tmp_path))
    path = tmp_path / "oxford-iiit-pet" / "images" / "breed_07_test0.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"breed_07_test0\.jpg: this image is damaged"):
        task.test.inputs[:]
    path.unlink()
    with pytest.raises(UserError, match=r"breed_07_test0\.jpg: this image is missing"):
        build_task(settings("pets", tmp_path))


# ---- real data


def test_official_mnist(tmp_path):
    if not (SHARED / "MNIST").is_dir():
        pytest.skip(f"no official MNIST at {SHARED}")
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for path in (SHARED / "MNIST" / "raw").glob("*.gz"):
        (tmp_path / "MNIST" / "raw" / path.name).write_bytes(path.read_bytes())
    wanted = settings("mnist", tmp_path, protocol="paper", network={"name": "cnn_medium"})
    task, described = build_task(wanted), describe_task(wanted)
    assert lengths(task) == (60_000, 10_000, 10_000)
    assert (described.num_train, described.num_test) == (60_000, 10_000)
    assert torch.bincount(task.train.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert task.build_network()(task.test.inputs[:3]).shape == (3, 10)
    assert task.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_official_cifar10_10k():
    path = SHARED / "cifar10_10k_2k.npz"
    if not path.is_file():
        pytest.skip(f"no CIFAR-10 subset at {path}")
    task = build_task(settings("cifar10_10k", path))
    assert lengths(task) == (9_000, 1_000, 2_000)
    assert task.train.labels.bincount().sum() == 9_000
    assert task.test.labels[:8].tolist() == [3, 8, 8, 0, 6, 6, 1, 6]


def test_cifar10_10k_from_torchvisions_files(tmp_path, monkeypatch):
    WRITERS["cifar10"](tmp_path, monkeypatch)
    for number in range(2, 6):  # the first batch is enough
        (tmp_path / "cifar-10-batches-py" / f"data_batch_{number}").unlink()
    facts = FACTS["cifar10_10k"]
    monkeypatch.setitem(FACTS, "cifar10_10k", type(facts)(**{**vars(facts), "num_test": 7}))
    task = build_task(settings("cifar10_10k", tmp_path, protocol="paper"))
    assert lengths(task) == (40, 7, 7)
    assert task.train.inputs.images.values.equal(torch.from_numpy(pixels(40, 32, seed=0)))
    assert task.test.inputs.images.values.equal(torch.from_numpy(pixels(20, 32, seed=5)[:7]))
