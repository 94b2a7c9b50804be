"""Detection: the loss trains a detector, boxes follow their images, scores are right."""

import json

import pytest
import torch

pytest.importorskip("pycocotools")
pytest.importorskip("torchvision")

from torch import nn

from paramdiff.errors import UserError
from paramdiff.paper.coco import CocoImage, CocoObject, read_coco
from paramdiff.paper.detection import detection_loss, detection_scores, objects_of
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select
from paramdiff.random import seeded_generator
from paramdiff.tasks.base import seeded_network
from paramdiff.tasks.registry import build_task, describe_task
from paramdiff.tasks.task_settings import TaskSettings
from paramdiff.zoo.collect import check_selection
from paramdiff.zoo.epoch_batches import EpochBatches
from paramdiff.zoo.zoo_settings import CollectionSettings

from .coco_folder import CAT, PERSON, TOASTER, annotations_of, write_coco

SMALL = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    write_coco(root)
    return TaskSettings(
        name="coco_detection", root=root, network={"name": SMALL}, image_size=32, augment=True
    )


@pytest.fixture(scope="module")
def splits(settings):
    return read_coco(settings, outlines=False)


class ColorDetector(nn.Module):
    """Finds people, who are red, and cats, who are blue; it may point beside them."""

    def __init__(self, shift=0.0):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))

    def forward(self, images, targets=None):
        assert not self.training
        return [self.found_on(image) for image in images]

    def found_on(self, image):
        boxes, labels = [], []
        for label, box in boxes_by_color(image).items():
            boxes.append(torch.tensor(box) + self.shift)
            labels.append(label)
        return {
            "boxes": torch.stack(boxes),
            "labels": torch.tensor(labels),
            "scores": torch.full((len(labels),), 0.9),
        }


def boxes_by_color(image):
    red, _, blue = image
    found = {}
    for label, mask in ((PERSON, red - blue > 0.4), (CAT, blue - red > 0.4)):
        rows, columns = mask.nonzero(as_tuple=True)
        if len(rows):
            corners = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            found[label] = [float(c) for c in corners]
    return found


class Recorder(nn.Module):
    """Keeps what it is trained on."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, images, targets):
        self.seen = list(zip(images, targets, strict=True))
        return {"one": self.weight[0], "other": 2 * self.weight[1]}


def test_boxes_end_where_the_image_does():
    boxes = [(-5, 40, 20, 20), (60, 10, 10, 10), (70, 0, 5, 5), (3, 3, 0, 9)]
    found = tuple(CocoObject(image_id=1, category_id=2, bbox=box) for box in boxes)
    objects = objects_of(CocoImage(None, 48, 64, found))
    assert objects.boxes.tolist() == [[0, 40, 15, 48], [60, 10, 64, 20]]
    assert objects.labels.tolist() == [2, 2]


def test_an_image_without_objects():
    objects = objects_of(CocoImage(None, 48, 64, ()))
    assert objects.boxes.shape == (0, 4) and len(objects.labels) == len(objects.is_crowd) == 0


def test_the_loss_is_the_sum_and_boxes_follow_mirrored_images(splits):
    network, rows = Recorder(), torch.arange(len(splits.train))
    plain = detection_loss(splits.train, False, network, rows, torch.Generator().manual_seed(1))
    assert plain.item() == 3
    before = network.seen
    detection_loss(splits.train, True, network, rows, torch.Generator().manual_seed(1))
    mirrored = [not torch.equal(a, b) for (a, _), (b, _) in zip(before, network.seen, strict=True)]
    assert 2 < sum(mirrored) < len(rows) - 2
    for image, target in network.seen:
        assert 0 <= image.min() and image.max() <= 1
        by_color = boxes_by_color(image)
        assert by_color
        for label, box in by_color.items():
            [own] = target["boxes"][target["labels"] == label].tolist()
            assert own == pytest.approx(box, abs=1)


def test_crowds_teach_nothing(splits):
    network, rows = Recorder(), torch.arange(len(splits.train))
    detection_loss(splits.train, False, network, rows, torch.Generator())
    taught = sum(len(target["labels"]) for _, target in network.seen)
    crowds = sum(o.iscrowd for image in splits.train for o in image.objects)
    assert crowds and taught == sum(len(image.objects) for image in splits.train) - crowds


def test_a_detector_that_sees_all_but_toasters(splits):
    """Annotated boxes against those of the pixels."""
    scores = detection_scores(splits, ColorDetector(), "test")
    objects = [found for image in splits.test for found in image.objects]
    is_toaster = [found.category_id == TOASTER for found in objects if not found.iscrowd]
    assert any(is_toaster) and len(is_toaster) < len(objects)
    assert scores.wrong.tolist() == is_toaster
    assert scores.values.shape == (1,)
    assert scores.values.item() == pytest.approx(2 / 3)  # of three classes


def test_a_detector_that_points_beside(splits):
    scores = detection_scores(splits, ColorDetector(shift=15.0), "test")
    assert scores.wrong.all() and scores.values.item() < 0.1


def test_training_lowers_the_loss_in_either_mode(settings):
    task = build_task(settings)
    network = seeded_network(task, 0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def loss():
        torch.manual_seed(0)
        return task.loss(network, torch.arange(2), torch.Generator().manual_seed(0))

    statistics = [b for name, b in network.named_buffers() if name.endswith("running_mean")]
    before = [b.clone() for b in statistics]
    network.eval()
    first = loss()
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(a, b) for a, b in zip(before, statistics, strict=True))
    network.train()
    losses = []
    for _ in range(4):
        losses.append(loss())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert all(module.training for module in network.modules())
    assert not all(torch.equal(a, b) for a, b in zip(before, statistics, strict=True))
    assert first.isfinite() and losses[-1] < 0.7 * losses[0]


def test_a_class_outside_the_networks(settings, tmp_path):
    write_coco(tmp_path)
    path, content = annotations_of(tmp_path, "val2017")
    content["categories"].append({"id": 91, "name": "hair brush"})
    content["annotations"][0]["category_id"] = 91
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"ids from 1 to 90, but one here has 91 \('hair brush'\)"):
        build_task(settings.model_copy(update={"root": tmp_path}))


def test_a_split_without_objects(settings, tmp_path):
    write_coco(tmp_path)
    path, content = annotations_of(tmp_path, "val2017")
    content["annotations"] = [a for a in content["annotations"] if a["iscrowd"]]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="there are no objects on the 4 test images"):
        build_task(settings.model_copy(update={"root": tmp_path}))


def test_frozen_normalization_layers_cannot_be_fine_tuned():
    """Their tensors are found by a pattern, but they are buffers."""
    name = "torchvision/fasterrcnn_resnet50_fpn"
    described = describe_task(
        TaskSettings(name="coco_detection", network={"name": name, "pretrained": True})
    )
    with torch.device("meta"):
        network = described.build_network()
    state = network.state_dict()
    collection = CollectionSettings(pretraining=None, fine_tuning={"lr": 0.1})
    for patterns, is_refused in (
        (["backbone.body.layer4.2.bn3.*"], True),
        (["backbone.body.layer4.2.bn3.*", "rpn.head.cls_logits.*"], False),
    ):
        layout = ParameterLayout.of(state, select(state, patterns))
        if is_refused:
            with pytest.raises(UserError, match="no trainable parameter is selected"):
                check_selection(network, layout, collection)
        else:
            check_selection(network, layout, collection)


def test_an_update_draws_the_same_whenever_it_is_made(settings):
    """Which proposals teach is drawn by torchvision, from nothing but the update's generator."""
    task = build_task(settings)
    network = seeded_network(task, 0).train()
    network.roi_heads.fg_bg_sampler.batch_size_per_image = 4
    data, rows = EpochBatches(task, 2, "stream"), torch.arange(2)

    def loss(number):
        torch.rand(3)
        with torch.no_grad():
            return data.training_loss(network, rows, seeded_generator(0, number)).item()

    assert loss(1) == loss(1) != loss(2)
