"""Any folder of images: splits, classes and sizes; ImageNet-1K is one."""

import shutil

import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.tasks import image_folder
from paramdiff.tasks.registry import build_task, describe_task
from paramdiff.tasks.task_settings import TaskSettings

from .formats import write_image_folder

pytest.importorskip("torchvision")


def settings(root, name="image_folder", **changes):
    changes = {"network": {"name": "resnet20"}, "image_size": 16, **changes}
    return TaskSettings(name=name, root=root, **changes)


def refusal(root, **changes):
    with pytest.raises(UserError) as caught:
        build_task(settings(root, **changes))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_folder_is_a_task(tmp_path):
    write_image_folder(tmp_path)
    task = build_task(settings(tmp_path, augment=True))
    assert (len(task.train), len(task.validation), len(task.test)) == (9, 3, 12)
    assert task.name == tmp_path.name
    assert task.test.inputs[:].shape == (12, 3, 16, 16)
    assert task.test.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert task.augmented(torch.arange(4), torch.Generator().manual_seed(0)).isfinite().all()
    described = describe_task(settings(tmp_path))
    assert (described.num_train, described.num_validation, described.num_test) == (9, 3, 12)
    assert described.num_classes == 3


def test_a_validation_folder_selects(tmp_path):
    write_image_folder(tmp_path, ("train", "val", "test"))
    task, described = build_task(settings(tmp_path)), describe_task(settings(tmp_path))
    assert (len(task.train), len(task.validation), len(task.test)) == (12, 12, 12)
    assert (described.num_train, described.num_validation, described.num_test) == (12, 12, 12)
    assert not task.selects_on_test
    paper = build_task(settings(tmp_path, protocol="paper"))
    assert paper.selects_on_test and len(paper.train) == 12


def test_what_is_wrong_with_a_folder(tmp_path):
    root = tmp_path / "mine"
    assert refusal(root) == f"task.root: there is no folder with train/ and test/ at {root}"
    write_image_folder(root, ("train",))
    assert f"{root / 'test'}: there must be a sub-folder of images per class" in refusal(root)
    write_image_folder(root, ("test",), num_classes=2)
    assert "only one of them has 'class_2'" in refusal(root)
    write_image_folder(root, ("test",))
    shutil.rmtree(root / "test" / "class_1")
    (root / "test" / "class_1").mkdir()
    assert "no valid file for the classes class_1" in refusal(root)


def test_imagenet_is_described_without_data():
    described = describe_task(settings(None, "imagenet1k", protocol="paper"))
    assert (described.num_train, described.num_test) == (1_281_167, 50_000)
    assert described.num_classes == 1000
    assert describe_task(settings(None, "imagenet1k")).num_validation == 5000


def test_imagenet_is_a_folder_of_the_users(tmp_path, monkeypatch):
    message = refusal(None, name="imagenet1k")
    assert "cannot be downloaded" in message and "train/ and val/" in message
    write_image_folder(tmp_path, ("train", "val"))
    assert "there are 3 classes, not 1000" in refusal(tmp_path, name="imagenet1k")
    monkeypatch.setattr(image_folder, "NUM_IMAGENET_CLASSES", 3)
    task = build_task(settings(tmp_path, "imagenet1k"))
    assert (len(task.train), len(task.validation), len(task.test)) == (9, 3, 12)


@pytest.mark.parametrize(
    ("network", "mean"),
    [("test_vit", 0.5), ("test_convnext", 0.5), ("resnet50", 0.485), ("resnet20", 0.485)],
)
def test_imagenet_is_normalized_for_the_network(tmp_path, monkeypatch, network, mean):
    pytest.importorskip("timm")
    monkeypatch.setattr(image_folder, "NUM_IMAGENET_CLASSES", 3)
    write_image_folder(tmp_path, ("train", "val"))
    task = build_task(settings(tmp_path, "imagenet1k", network={"name": network}))
    assert task.test.inputs.preparation.mean[0] == mean
