"""Average precision and missed objects, on cases that can be worked out by hand."""

import pytest
import torch

pytest.importorskip("pycocotools")
pytest.importorskip("torchvision")

from paramdiff.paper.detection import Detections, Objects, average_precision, missed

BOXES = torch.tensor([[10.0, 10, 50, 50], [60, 20, 90, 80], [5, 60, 45, 95]])
LABELS = torch.tensor([1, 17, 17])


def objects(boxes=BOXES, labels=LABELS, crowds=()):
    is_crowd = torch.zeros(len(labels), dtype=torch.bool)
    is_crowd[list(crowds)] = True
    return Objects(boxes, labels, is_crowd)


def detections(boxes=BOXES, labels=LABELS, confidence=0.9):
    return Detections(boxes, labels, torch.full((len(labels),), confidence))


def nothing():
    return Detections(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))


def test_perfect_detections():
    found, truth = [detections(), nothing()], [objects(), objects(BOXES[:0], LABELS[:0])]
    assert average_precision(found, truth) == 1
    assert missed(found, truth).tolist() == [False] * 3


def test_no_detections():
    assert average_precision([nothing()], [objects()]) == 0
    assert missed([nothing()], [objects()]).tolist() == [True] * 3


@pytest.mark.parametrize(("shift", "is_missed"), [(13.0, False), (14.0, True)])
def test_a_shifted_box(shift, is_missed):
    """40 pixels wide: moved by 13 the overlap is 27 / 53, by 14 it is 26 / 54, below a half."""
    boxes = BOXES.clone()
    boxes[0, 0::2] += shift
    assert missed([detections(boxes)], [objects()]).tolist() == [is_missed, False, False]
    # the class of the other two is perfect; this one counts at no overlap, or at 0.5 alone
    expected = (1 + (0 if is_missed else 0.1)) / 2
    assert average_precision([detections(boxes)], [objects()]) == pytest.approx(expected)


def test_another_class_finds_nothing():
    found = detections(labels=torch.tensor([17, 17, 17]))
    assert missed([found], [objects()]).tolist() == [True, False, False]


@pytest.mark.parametrize(("confidence", "is_missed"), [(0.5, False), (0.49, True)])
def test_half_sure_is_sure(confidence, is_missed):
    """Average precision asks for the order of the confidences alone."""
    found = [detections(confidence=confidence)]
    assert missed(found, [objects()]).tolist() == [is_missed] * 3
    assert average_precision(found, [objects()]) == 1


def test_a_false_detection_between_two_right_ones():
    """Of 101 recalls 51 have a precision of 1, the others one of 2/3."""
    boxes = torch.cat([BOXES[1:2], BOXES[:1], BOXES[2:]])
    found = Detections(boxes, torch.tensor([17, 17, 17]), torch.tensor([0.9, 0.8, 0.7]))
    truth = objects(BOXES[1:], LABELS[1:])
    expected = (51 + 50 * 2 / 3) / 101
    assert average_precision([found], [truth]) == pytest.approx(expected, abs=1e-6)


def test_a_crowd_is_neither_found_nor_missed():
    truth = [objects(crowds=[2])]
    for found in (detections(), detections(BOXES[:2], LABELS[:2])):
        assert average_precision([found], truth) == 1
        assert missed([found], truth).tolist() == [False, False]


def test_one_detection_may_find_two():
    twice = objects(BOXES[[0, 0]], LABELS[[0, 0]])
    found = detections(BOXES[:1], LABELS[:1])
    assert missed([found], [twice]).tolist() == [False, False]
