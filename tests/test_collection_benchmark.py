"""The benchmark of collection runs at tiny size; what it times is not judged here."""

import json
import math

import numpy as np
import pytest
import torch
from benchmarks.collection import flipped_and_cropped, main, read_task

from paramdiff.random import seeded_generator


@pytest.fixture
def root(tmp_path):
    draws = np.random.default_rng(0)
    arrays = {}
    for name, num in (("train", 24), ("test", 12)):
        arrays[f"x_{name}"] = draws.integers(0, 256, (num, 3, 32, 32), dtype=np.uint8)
        arrays[f"y_{name}"] = draws.integers(0, 10, num)
    path = tmp_path / "images.npz"
    np.savez(path, **arrays)
    return path


def test_it_ends_in_one_json_object(root, capsys):
    arguments = ["--num-checkpoints", "11", "--reference-updates", "2", "--rounds", "1"]
    main(["--root", str(root), "--epochs", "1", *arguments])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["num_checkpoints"] == 11
    for case in ("kept", "augmented"):
        row = found[case]
        assert row["largest_difference_in_ten_updates"] < 1e-4
        assert row["accuracy_ours"]["n"] == row["accuracy_reference"]["n"] == 11
        assert row["reference_updates_measured"] == 2
        seconds = [part["seconds"] for part in row["cumulative"].values()]
        assert len(seconds) == 4
        assert seconds[1] == row["reference_s"] and seconds[3] == row["ours_s"]
        assert row["ratio"] == pytest.approx(seconds[1] / seconds[3], rel=0.2)
        factors = math.prod(part["factor"] for part in row["cumulative"].values())
        assert factors == pytest.approx(seconds[0] / seconds[3], rel=0.2)


def test_it_refuses_a_missing_file_and_too_few_checkpoints(root, tmp_path, capsys):
    for arguments, named in (
        (["--root", str(tmp_path / "none.npz")], "--root: expected an .npz file"),
        (["--root", str(root), "--num-checkpoints", "3"], "--reference-updates times --rounds"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert named in capsys.readouterr().err


def test_its_augmentation_shifts_and_mirrors_whole_images(root):
    """Each augmented image is a window of the padded image or of its mirror."""
    images = read_task(root).train.inputs
    augmented = flipped_and_cropped(images)
    found = augmented(torch.full((30,), 7), seeded_generator("draws"))
    padded = np.pad(images[7].numpy(), ((0, 0), (4, 4), (4, 4)))
    windows = {
        window.tobytes()
        for top in range(9)
        for left in range(9)
        for window in (
            np.ascontiguousarray(padded[:, top : top + 32, left : left + 32]),
            np.ascontiguousarray(padded[:, top : top + 32, left : left + 32][:, :, ::-1]),
        )
    }
    made = [np.ascontiguousarray(image.numpy()).tobytes() for image in found]
    assert set(made) <= windows
    assert len(set(made)) > 20
