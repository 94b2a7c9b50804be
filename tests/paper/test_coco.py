"""COCO's layout: what is read, and one clear line for what is missing or damaged."""

import json
import re

import pytest
import torch

pytest.importorskip("pycocotools")
pytest.importorskip("torchvision")

from PIL import Image

from paramdiff.errors import UserError
from paramdiff.paper.coco import read_coco
from paramdiff.tasks.registry import build_task, describe_task
from paramdiff.tasks.task_settings import TaskSettings

from .coco_folder import HEIGHT, NUM_TEST, NUM_TRAIN, WIDTH, annotations_of, write_coco

NETWORKS = {
    "coco_detection": "torchvision/fcos_resnet50_fpn",
    "coco_segmentation": "torchvision/fcn_resnet50",
}
BOTH = pytest.mark.parametrize("name", list(NETWORKS))


@pytest.fixture
def root(tmp_path):
    write_coco(tmp_path / "coco")
    return tmp_path / "coco"


def settings_of(name, root, **changes):
    return TaskSettings(name=name, root=root, network={"name": NETWORKS[name]}, **changes)


def refusal(settings):
    with pytest.raises(UserError) as caught:
        build_task(settings)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def numbers_of(images):
    return [int(image.path.stem) for image in images]


@BOTH
def test_splits(name, root):
    splits = read_coco(settings_of(name, root), outlines=False)
    train, validation = numbers_of(splits.train), numbers_of(splits.validation)
    assert len(validation) == 1
    assert sorted(train + validation) == list(range(1000, 1000 + NUM_TRAIN))
    assert {image.path.parent.name for image in splits.train} == {"train2017"}
    assert {image.path.parent.name for image in splits.test} == {"val2017"}
    again, other = (
        read_coco(settings_of(name, root, seed=seed), outlines=False) for seed in (0, 5)
    )
    assert numbers_of(again.validation) == validation != numbers_of(other.validation)
    task = build_task(settings_of(name, root))
    assert (task.num_train, task.num_validation, task.num_test) == (NUM_TRAIN - 1, 1, NUM_TEST)
    assert task.is_fraction and not task.selects_on_test


@BOTH
def test_the_papers_protocol_selects_on_test(name, root):
    task = build_task(settings_of(name, root, protocol="paper"))
    assert (task.num_train, task.num_validation, task.num_test) == (NUM_TRAIN, NUM_TEST, NUM_TEST)
    assert task.selects_on_test


@BOTH
def test_a_description_needs_no_data(name, tmp_path):
    described = describe_task(settings_of(name, tmp_path / "none"))
    assert (described.num_train, described.num_test) == (113_287, 5_000)
    with torch.device("meta"):
        assert described.build_network().state_dict()


def test_images_are_read_as_they_are(root):
    image = read_coco(settings_of("coco_detection", root), outlines=False).test[0]
    assert image.read().shape == (3, HEIGHT, WIDTH) and image.read().dtype == torch.uint8


@BOTH
@pytest.mark.parametrize("folder", [None, "none"])
def test_without_a_folder(name, folder, tmp_path):
    message = refusal(settings_of(name, folder and tmp_path / folder))
    assert message.startswith("task.root: COCO is not downloaded; name a folder with train2017")


@BOTH
def test_a_missing_annotation_file(name, root):
    path, _ = annotations_of(root, "val2017")
    path.unlink()
    assert refusal(settings_of(name, root)).startswith(f"{path}: these annotations")


@BOTH
def test_a_missing_image(name, root):
    path = root / "train2017" / "000000001003.jpg"
    path.unlink()
    assert refusal(settings_of(name, root)).startswith(f"{path}: this image of")


def drop_categories(content):
    del content["categories"]


def drop_category_of_one(content):
    del content["annotations"][3]["category_id"]


def unknown_category(content):
    content["annotations"][3]["category_id"] = 1234


def unknown_image(content):
    content["annotations"][3]["image_id"] = 7


def short_box(content):
    content["annotations"][3]["bbox"] = [1, 2, 3]


def infinite_box(content):
    content["annotations"][3]["bbox"][2] = float("inf")


def no_images(content):
    content["images"], content["annotations"] = [], []


def no_height(content):
    content["images"][2]["height"] = 0


@BOTH
@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (drop_categories, "categories: this value is missing"),
        (drop_category_of_one, "annotations.3.category_id: this value is missing"),
        (unknown_category, "annotations.3.category_id: no category has the id 1234"),
        (unknown_image, "annotations.3.image_id: no image has the id 7"),
        (short_box, "annotations.3.bbox.3: this value is missing"),
        (infinite_box, "annotations.3.bbox.2: input should be a finite number, found inf"),
        (no_images, "images: there is none"),
        (no_height, "images.2.height: input should be greater than 0, found 0"),
    ],
)
def test_damaged_annotations(name, damage, named, root):
    path, content = annotations_of(root)
    damage(content)
    path.write_text(json.dumps(content))
    assert re.match(f"{path}: {named}", refusal(settings_of(name, root)))


@BOTH
def test_a_file_that_is_no_json(name, root):
    path, _ = annotations_of(root)
    path.write_text(path.read_text()[:-40])
    assert refusal(settings_of(name, root)).startswith(f"{path}: invalid JSON")


def test_an_image_of_another_size(root):
    image = read_coco(settings_of("coco_detection", root), outlines=False).test[0]
    Image.new("RGB", (32, 48)).save(image.path)
    with pytest.raises(UserError, match=f"{image.path}: .* say 64x48 pixels, but it has 32x48"):
        image.read()


def test_a_damaged_image(root):
    image = read_coco(settings_of("coco_detection", root), outlines=False).test[0]
    image.path.write_bytes(image.path.read_bytes()[:200])
    with pytest.raises(UserError, match=f"{image.path}: this image is damaged"):
        image.read()
