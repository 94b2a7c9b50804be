"""Tiny image sets in the on-disk formats of the real ones; torchvision is told their checksums."""

import gzip
import hashlib
import json
import pickle
import struct
import tarfile

import numpy as np
from PIL import Image

NUM_TRAIN, NUM_TEST = 40, 20


def pixels(num, size, channels=3, seed=0):
    """Noise, uint8 ``[num, channels, size, size]``."""
    return np.random.default_rng(seed).integers(0, 256, (num, channels, size, size), np.uint8)


def labels(num, num_classes=10):
    """Every class as often as any other, in a row."""
    return np.arange(num) % num_classes


def md5_of(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def packed(archive, folder, name):
    """Pack a folder, in the place of its files."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / name, name)


def write_cifar10(root, monkeypatch):
    """Five training batches of 40, one test batch of 20, and their names."""
    from torchvision.datasets import CIFAR10

    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    sums = []
    for number, (name, _) in enumerate([*CIFAR10.train_list, *CIFAR10.test_list]):
        num = NUM_TEST if name == "test_batch" else NUM_TRAIN
        data = pixels(num, 32, seed=number).reshape(num, -1)
        content = {"data": data, "labels": labels(num).tolist()}
        (folder / name).write_bytes(pickle.dumps(content))
        sums.append([name, md5_of(folder / name)])
    meta = folder / CIFAR10.meta["filename"]
    meta.write_bytes(pickle.dumps({"label_names": [f"class {i}" for i in range(10)]}))
    monkeypatch.setattr(CIFAR10, "train_list", sums[:-1])
    monkeypatch.setattr(CIFAR10, "test_list", sums[-1:])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5_of(meta)})


def write_cifar100(root, monkeypatch):
    """One training and one test batch with fine labels; 100 classes."""
    from torchvision.datasets import CIFAR100

    folder = root / CIFAR100.base_folder
    folder.mkdir(parents=True)
    for name, num in (("train", 400), ("test", 100)):
        data = pixels(num, 32).reshape(num, -1)
        content = {"data": data, "fine_labels": labels(num, 100).tolist()}
        (folder / name).write_bytes(pickle.dumps(content))
        monkeypatch.setattr(CIFAR100, f"{name}_list", [[name, md5_of(folder / name)]])
    meta = folder / CIFAR100.meta["filename"]
    meta.write_bytes(pickle.dumps({"fine_label_names": [str(i) for i in range(100)]}))
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": md5_of(meta)})


def write_mnist(root, monkeypatch):
    """The four compressed idx files."""
    from torchvision.datasets import MNIST

    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    resources = []
    for split, num in (("train", NUM_TRAIN), ("t10k", NUM_TEST)):
        images = struct.pack(">4i", 2051, num, 28, 28) + pixels(num, 28, 1).tobytes()
        truth = struct.pack(">2i", 2049, num) + labels(num).astype(np.uint8).tobytes()
        for name, content in (("images-idx3", images), ("labels-idx1", truth)):
            path = folder / f"{split}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(content))
            resources.append((path.name, md5_of(path)))
    monkeypatch.setattr(MNIST, "resources", resources)


def write_svhn(root, monkeypatch):
    """Two Matlab files, images ``[32, 32, 3, N]``; the digit 0 has the label 10."""
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    root.mkdir(parents=True, exist_ok=True)
    splits = dict(SVHN.split_list)
    for split, num in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        truth = np.where(labels(num) == 0, 10, labels(num)).astype(np.uint8)
        path = root / f"{split}_32x32.mat"
        savemat(path, {"X": pixels(num, 32).transpose(2, 3, 1, 0), "y": truth[:, None]})
        splits[split] = [splits[split][0], path.name, md5_of(path)]
    monkeypatch.setattr(SVHN, "split_list", splits)


def write_stl10(root, monkeypatch):
    """Binary files, column by column; labels from 1. None of unlabeled images."""
    from torchvision.datasets import STL10

    folder = root / STL10.base_folder
    folder.mkdir(parents=True)
    for split, num in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        pixels(num, 96).transpose(0, 1, 3, 2).tofile(folder / f"{split}_X.bin")
        (labels(num) + 1).astype(np.uint8).tofile(folder / f"{split}_y.bin")
        names = [f"{split}_X.bin", f"{split}_y.bin"]
        sums = [[name, md5_of(folder / name)] for name in names]
        rest = STL10.train_list[2:] if split == "train" else []
        monkeypatch.setattr(STL10, f"{split}_list", [*sums, *rest])


def write_image(path, number, size=(60, 45)):
    """A JPEG of one color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10 * number % 256, 128, 255 - 10 * number % 256)).save(path)


def write_flowers102(root, monkeypatch):
    """204 training and 102 test images; labels and splits in Matlab files, both from 1."""
    from scipy.io import savemat
    from torchvision.datasets import Flowers102

    from paramdiff.tasks import public

    folder = root / "flowers-102"
    for number in range(1, 307):
        write_image(folder / "jpg" / f"image_{number:05d}.jpg", number, (24, 16))
    savemat(folder / "imagelabels.mat", {"labels": labels(306, 102)[None] + 1})
    numbers = np.arange(1, 307)[None]
    splits = {"trnid": numbers[:, :204], "valid": numbers[:, :0], "tstid": numbers[:, 204:]}
    savemat(folder / "setid.mat", splits)
    sums = {name: md5_of(folder / name) for name in ("imagelabels.mat", "setid.mat")}
    table = dict(Flowers102._file_dict)
    for key, name in (("label", "imagelabels.mat"), ("setid", "setid.mat")):
        table[key] = (name, sums[name])
    monkeypatch.setattr(Flowers102, "_file_dict", table)
    monkeypatch.setattr(public, "FLOWERS_MD5", {**public.FLOWERS_MD5, **sums})


def write_pets(root, monkeypatch):
    """Two images of each of 37 breeds to train on, one for testing; lists with labels from 1."""
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for split, each in (("trainval", 2), ("test", 1)):
        lines = []
        for breed in range(37):
            for number in range(each):
                name = f"breed_{breed:02d}_{split}{number}"
                write_image(folder / "images" / f"{name}.jpg", breed, (24, 16))
                lines.append(f"{name} {breed + 1} 1 {breed + 1}\n")
        (folder / "annotations" / f"{split}.txt").write_text("".join(lines))


def write_food101(root, monkeypatch):
    """Two images of each of 101 dishes to train on, one for testing; names in JSON files."""
    folder = root / "food-101"
    (folder / "meta").mkdir(parents=True)
    for split, each in (("train", 2), ("test", 1)):
        content = {}
        for dish in range(101):
            names = [f"dish_{dish:03d}/{split}{number}" for number in range(each)]
            for name in names:
                write_image(folder / "images" / f"{name}.jpg", dish, (24, 16))
            content[f"dish_{dish:03d}"] = names
        (folder / "meta" / f"{split}.json").write_text(json.dumps(content))


def write_image_folder(root, splits=("train", "test"), num_classes=3, each=4):
    """Images of several sizes and types, one folder per class."""
    for split in splits:
        for label in range(num_classes):
            for number in range(each):
                kind = "png" if number % 2 else "jpg"
                size = (40 + 4 * number, 50)
                write_image(root / split / f"class_{label}" / f"{number}.{kind}", label, size)


WRITERS = {
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "mnist": write_mnist,
    "svhn": write_svhn,
    "stl10": write_stl10,
    "flowers102": write_flowers102,
    "pets": write_pets,
    "food101": write_food101,
}
