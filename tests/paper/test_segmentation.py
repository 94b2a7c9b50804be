"""Segmentation: classes of pixels, the loss trains, mIoU is right."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("pycocotools")
pytest.importorskip("torchvision")

from PIL import Image
from torch import nn

from paramdiff.errors import UserError
from paramdiff.networks.network_settings import NetworkSettings
from paramdiff.paper.coco import CocoImage, OutlinedObject, read_coco
from paramdiff.paper.segmentation import (
    IGNORED,
    PIXELS_PER_IMAGE,
    ShownImages,
    label_map,
    segmentation_loss,
    segmentation_scores,
    voc_labels,
)
from paramdiff.tasks.base import seeded_network
from paramdiff.tasks.registry import build_task
from paramdiff.tasks.task_settings import TaskSettings

from .coco_folder import CAT, CATEGORIES, CROWD, HEIGHT, PERSON, WIDTH, annotations_of, write_coco

SMALL = "torchvision/lraspp_mobilenet_v3_large"
LABELS = {PERSON: 15, CAT: 8}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    write_coco(root)
    return TaskSettings(
        name="coco_segmentation", root=root, network={"name": SMALL}, image_size=HEIGHT
    )


@pytest.fixture(scope="module")
def shown(settings):
    return ShownImages(read_coco(settings, outlines=True), LABELS, HEIGHT)


class ColorSegmenter(nn.Module):
    """Tells red pixels to be people and blue ones cats; or everything to be one class."""

    def __init__(self, always=None):
        super().__init__()
        self.weight, self.always = nn.Parameter(torch.ones(1)), always

    def forward(self, images):
        logits = torch.zeros(len(images), 21, *images.shape[2:])
        if self.always is not None:
            logits[:, self.always] = 1
            return {"out": logits * self.weight}
        logits[:, 0] = 0.5
        logits[:, LABELS[PERSON]] = (images[:, 0] - images[:, 2] > 1.5).float()
        logits[:, LABELS[CAT]] = (images[:, 2] - images[:, 0] > 1.5).float()
        return {"out": logits * self.weight}


def outlined(category, box):
    left, top, width, height = box
    right, bottom = left + width, top + height
    corners = [left, top, right, top, right, bottom, left, bottom]
    return OutlinedObject(
        image_id=1, category_id=category, bbox=box, segmentation=[[float(c) for c in corners]]
    )


def test_categories_go_by_name():
    assert voc_labels(CATEGORIES) == LABELS
    assert voc_labels({3: "tv", 4: "airplane"}) == {3: 20, 4: 1}
    with pytest.raises(UserError, match=r"no category is among airplane, .*; there are toaster"):
        voc_labels({80: "toaster"})


def test_the_classes_of_pixels(shown):
    """Painted by hand: polygons, a crowd, and toasters as background."""
    for image in shown.splits.train:
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        for found in image.objects:
            if found.category_id in LABELS:
                left, top, width, height = map(int, found.bbox)
                expected[top : top + height, left : left + width] = LABELS[found.category_id]
        assert np.array_equal(label_map(image, LABELS).numpy(), expected)
    crowded = [any(o.iscrowd for o in image.objects) for image in shown.splits.train]
    assert any(crowded) and not all(crowded)
    image = shown.splits.train[crowded.index(True)]
    left, top = CROWD[:2]
    assert label_map(image, LABELS)[top, left] == LABELS[PERSON]


def test_pixels_of_two_objects_are_ignored():
    objects = (outlined(PERSON, (0, 0, 10, 10)), outlined(CAT, (5, 5, 10, 10)))
    found = label_map(CocoImage(None, 20, 20, objects), LABELS)
    assert (found == IGNORED).sum() == 25 and (found[5:10, 5:10] == IGNORED).all()
    assert (found == LABELS[PERSON]).sum() == (found == LABELS[CAT]).sum() == 75


def test_a_network_that_sees_all_but_a_crowd(shown):
    scores = segmentation_scores(shown, ColorSegmenter(), "test")
    assert scores.values.shape == (1,) and 0.8 < scores.values.item() < 1
    assert len(scores.wrong) == PIXELS_PER_IMAGE * len(shown.splits.test)
    assert scores.wrong.float().mean() < 0.2


def test_the_score_is_what_is_counted(shown):
    """One class everywhere: its overlap is its share, those of the others are 0."""
    classes = torch.cat([shown.read(image)[1].flatten() for image in shown.splits.test])
    scores = segmentation_scores(shown, ColorSegmenter(always=8), "test")
    share = (classes == 8).float().mean()
    assert scores.values.item() == pytest.approx(share.item() / 3, rel=1e-5)
    assert scores.wrong.float().mean().item() == pytest.approx(1 - share.item(), abs=0.15)
    elsewhere = segmentation_scores(shown, ColorSegmenter(always=3), "test")
    assert elsewhere.values.item() == 0 and elsewhere.wrong.all()


def test_the_same_pixels_each_time(shown):
    first, second = (segmentation_scores(shown, ColorSegmenter(), "test") for _ in range(2))
    assert torch.equal(first.wrong, second.wrong)


def test_padding_is_ignored(settings, tmp_path):
    """An image beside a larger one has the loss that it has alone."""
    write_coco(tmp_path, num_train=10)
    splits = read_coco(settings.model_copy(update={"root": tmp_path}), outlines=True)
    narrow = splits.train[0]
    with Image.open(narrow.path) as picture:
        picture.crop((0, 0, 50, HEIGHT)).save(narrow.path)
    objects = (outlined(PERSON, (0, 0, 20, 20)),)
    train = (CocoImage(narrow.path, HEIGHT, 50, objects), *splits.train[1:])
    shown = ShownImages(type(splits)(train, train, train, {}), LABELS, HEIGHT)
    network, generator = ColorSegmenter(), torch.Generator()
    alone, other, both = (
        segmentation_loss(shown, False, network, torch.tensor(rows), generator).item()
        for rows in ([0], [1], [0, 1])
    )
    assert both == pytest.approx((50 * alone + WIDTH * other) / (50 + WIDTH), rel=1e-5)


def test_images_and_classes_are_mirrored_together(shown):
    network, rows = ColorSegmenter(), torch.arange(len(shown.splits.train))
    plain, mirrored = (
        segmentation_loss(shown, mirror, network, rows, torch.Generator().manual_seed(1)).item()
        for mirror in (False, True)
    )
    assert mirrored == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize(
    "name",
    [SMALL, pytest.param("torchvision/fcn_resnet50", marks=pytest.mark.slow)],
)
def test_training_lowers_the_loss(name, settings):
    network = NetworkSettings(name=name)
    task = build_task(settings.model_copy(update={"network": network}))
    network = seeded_network(task, 0).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(6):
        losses.append(task.loss(network, torch.arange(4), torch.Generator()))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


def test_one_image_may_be_too_few(settings):
    network = NetworkSettings(name="torchvision/deeplabv3_mobilenet_v3_large")
    task = build_task(settings.model_copy(update={"network": network}))
    with pytest.raises(UserError, match="1 images of 48x64 pixels cannot train this network"):
        task.loss(task.build_network(), torch.tensor([0]), torch.Generator())


def test_a_second_head_counts_half(shown):
    class TwoHeads(ColorSegmenter):
        def forward(self, images):
            return {"out": super().forward(images)["out"], "aux": super().forward(images)["out"]}

    rows = torch.arange(2)
    one, two = (
        segmentation_loss(shown, False, network, rows, torch.Generator()).item()
        for network in (ColorSegmenter(), TwoHeads())
    )
    assert two == pytest.approx(1.5 * one)


def drop_outline(annotation):
    del annotation["segmentation"]


def short_outline(annotation):
    annotation["segmentation"] = [[1, 2, 3, 4]]


@pytest.mark.parametrize("damage", [drop_outline, short_outline])
def test_objects_without_an_outline(damage, settings, tmp_path):
    write_coco(tmp_path)
    path, content = annotations_of(tmp_path)
    damage(content["annotations"][2])
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"annotations\.2\.segmentation") as caught:
        build_task(settings.model_copy(update={"root": tmp_path}))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "outline", [{"counts": [5, 5], "size": [48, 64]}, {"counts": [3072], "size": [64, 48]}]
)
def test_run_lengths_of_another_image(outline):
    found = OutlinedObject(image_id=1, category_id=1, bbox=(0, 0, 1, 1), segmentation=outline)
    with pytest.raises(UserError, match="a mask must have 48x64 pixels, but one has run lengths"):
        label_map(CocoImage("x.jpg", 48, 64, (found,)), LABELS)
