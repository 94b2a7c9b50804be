"""Tiny images of colored rectangles, annotated and laid out as COCO."""

import json

import numpy as np
from PIL import Image, ImageDraw

PERSON, CAT, TOASTER = 1, 17, 80  # toasters are none of VOC's classes
CATEGORIES = {PERSON: "person", CAT: "cat", TOASTER: "toaster"}
COLOURS = {PERSON: (220, 30, 30), CAT: (30, 60, 220), TOASTER: (240, 240, 240)}
WIDTH, HEIGHT = 64, 48
NUM_TRAIN, NUM_TEST = 12, 4
CROWD = (0, 40, 8, 8)
"""Left, top, width and height of a crowd of people, on every fourth image."""


def annotations_of(root, split="train2017"):
    """The file, and what it holds."""
    path = root / "annotations" / f"instances_{split}.json"
    return path, json.loads(path.read_text())


def write_coco(root, num_train=NUM_TRAIN, num_test=NUM_TEST):
    """A person on the left or a cat on the right of each image; on some also a toaster."""
    for split, num in (("train2017", num_train), ("val2017", num_test)):
        (root / split).mkdir(parents=True)
        content = {"info": {"year": 2017}, "licenses": [], "images": [], "annotations": []}
        content["categories"] = [
            {"id": number, "name": name, "supercategory": "thing"}
            for number, name in CATEGORIES.items()
        ]
        for number in range(num):
            write_image(root / split, content, 1000 + number, number)
        path = root / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))


def write_image(folder, content, image_id, number):
    rng = np.random.default_rng(number)
    name = f"{image_id:012d}.jpg"
    picture = Image.fromarray(rng.integers(90, 130, (HEIGHT, WIDTH, 3), np.uint8))
    shift = int(rng.integers(0, 6))
    boxes = [(PERSON, (4 + shift, 6, 22, 30)) if number % 2 else (CAT, (34 - shift, 8, 26, 28))]
    if number % 3 == 0:
        boxes.append((TOASTER, (30, 36, 10, 10)))
    draw = ImageDraw.Draw(picture)
    for category, box in boxes:
        left, top, width, height = box
        right, bottom = left + width, top + height
        draw.rectangle((left, top, right - 1, bottom - 1), fill=COLOURS[category])
        outline = [[left, top, right, top, right, bottom, left, bottom]]
        annotate(content, image_id, category, box, outline, iscrowd=0)
    if number % 4 == 0:
        annotate(content, image_id, PERSON, CROWD, run_lengths(CROWD), iscrowd=1)
    picture.save(folder / name, quality=95)
    content["images"].append(
        {"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 1}
    )


def annotate(content, image_id, category, box, segmentation, iscrowd):
    content["annotations"].append(
        {
            "id": len(content["annotations"]) + 1,
            "image_id": image_id,
            "category_id": category,
            "bbox": list(box),
            "area": float(box[2] * box[3]),
            "segmentation": segmentation,
            "iscrowd": iscrowd,
        }
    )


def run_lengths(box):
    """A box as COCO writes crowds: lengths of runs of 0 and 1 in turn, down the columns."""
    left, top, width, height = box
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + height, left : left + width] = True
    flat = mask.T.flatten()
    borders = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *borders, flat.size]).tolist()
    return {"counts": [0, *counts] if flat[0] else counts, "size": [HEIGHT, WIDTH]}
