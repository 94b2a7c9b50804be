"""A user's arrays: any of the layouts gives one task; what is wrong is one line with the file."""

import numpy as np
import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.tasks.registry import build_task, describe_task
from paramdiff.tasks.task_settings import TaskSettings

from .formats import labels, pixels


def arrays(**changes):
    content = {
        "x_train": pixels(40, 8),
        "y_train": labels(40, 4),
        "x_test": pixels(12, 8, seed=1),
        "y_test": labels(12, 4),
    }
    return {name: value for name, value in {**content, **changes}.items() if value is not None}


def built(path, content, **changes):
    np.savez(path, **content)
    return build_task(TaskSettings(name="npz", root=path, **changes))


def refusal(path, content=None, **changes):
    with pytest.raises(UserError) as caught:
        if content is None:
            build_task(TaskSettings(name="npz", root=path, **changes))
        built(path, content, **changes)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.npz"


def test_images_become_a_task(path):
    task = built(path, arrays())
    assert (len(task.train), len(task.validation), len(task.test)) == (36, 4, 12)
    assert task.validation.labels.sort().values.tolist() == [0, 1, 2, 3]
    expected = torch.from_numpy(pixels(12, 8, seed=1)).float() / 255 * 2 - 1
    torch.testing.assert_close(task.test.inputs[:], expected, rtol=1e-5, atol=1e-6)
    assert task.build_network()(task.test.inputs[:2]).shape == (2, 4)
    described = describe_task(TaskSettings(name="npz", root=path))
    assert described.input_shape == (3, 8, 8)
    assert (described.num_train, described.num_validation, described.num_test) == (36, 4, 12)
    assert described.num_classes == 4


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x,
        lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)),
        np.asfortranarray,
    ],
)
def test_channels_come_first_or_last(path, layout):
    plain = built(path, arrays())
    content = arrays()
    for name in ("x_train", "x_test"):
        content[name] = layout(content[name])
    other = built(path, content)
    assert other.train.inputs[:].equal(plain.train.inputs[:])


@pytest.mark.parametrize(
    "layout", [lambda x: x[:, 0], lambda x: x[:, :1], lambda x: x[:, 0, ..., None]]
)
def test_grey_images(path, layout):
    content = arrays()
    for name in ("x_train", "x_test"):
        content[name] = layout(content[name])
    task = built(path, content)
    assert task.test.inputs[:].shape == (12, 1, 8, 8)
    assert task.build_network()(task.test.inputs[:2]).shape == (2, 4)


def test_float_images_are_not_normalized(path):
    values = {name: arrays()[name] / 100.0 for name in ("x_train", "x_test")}
    task = built(path, arrays(**values), augment=True)
    assert task.test.inputs[:].equal(torch.tensor(values["x_test"], dtype=torch.float32))
    rows = torch.arange(3)
    assert task.augmented(rows, torch.Generator().manual_seed(0)).shape == (3, 3, 8, 8)


def test_rows_are_taken_as_they_are(path):
    rng = np.random.default_rng(0)
    rows = {"x_train": rng.normal(3, 2, (40, 5)), "x_test": rng.normal(3, 2, (12, 5))}
    for protocol in ("validation", "paper"):
        task = built(path, arrays(**rows), protocol=protocol)
        assert task.inputs_in_words == "as they are"
        assert task.test.inputs[:].equal(torch.tensor(rows["x_test"], dtype=torch.float32))
    assert task.train.inputs[:].equal(torch.tensor(rows["x_train"], dtype=torch.float32))


def test_bytes_in_rows_are_taken_as_they_are(path):
    rows = {"x_train": pixels(40, 8)[:, 0, 0], "x_test": pixels(12, 8)[:, 0, 0]}
    task = built(path, arrays(**rows))
    assert task.test.inputs[:].equal(torch.tensor(rows["x_test"]).float())


def test_rows_in_units_of_their_spread_where_that_is_asked_for(path):
    rng = np.random.default_rng(0)
    rows = {"x_train": rng.normal(3, 2, (40, 5)), "x_test": rng.normal(3, 2, (12, 5))}
    rows["x_train"][:, 4] = rows["x_test"][:, 4] = 7  # says nothing, divides by nothing
    task = built(path, arrays(**rows), standardize=True)
    assert task.inputs_in_words.startswith("standardized by")
    train = task.train.inputs[:]
    torch.testing.assert_close(train.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std(0)[:4], torch.ones(4))
    assert task.test.inputs[:].isfinite().all() and task.test.inputs[:][:, 4].eq(0).all()
    assert task.build_network()(train).shape == (36, 4)
    assert "vectors, not images" in refusal(path, arrays(**rows), augment=True)
    assert "vectors, not images" in refusal(path, arrays(**rows), image_size=8)
    assert refusal(path, arrays(), standardize=True).startswith("task.standardize: ")


def test_what_is_done_to_images_is_told(path):
    told = built(path, arrays()).inputs_in_words
    assert told == "pixels over 255, minus 0.5 0.5 0.5, over 0.5 0.5 0.5"
    values = {name: arrays()[name] / 100.0 for name in ("x_train", "x_test")}
    assert built(path, arrays(**values)).inputs_in_words == "as they are"
    assert "6x6 pixels" in built(path, arrays(), image_size=6).inputs_in_words


def test_the_papers_protocol(path):
    task = built(path, arrays(), protocol="paper")
    assert task.selects_on_test and (len(task.train), len(task.validation)) == (40, 12)


def test_a_size_for_images_that_are_not_square(path):
    content = arrays(x_train=pixels(40, 8)[:, :, :6], x_test=pixels(12, 8)[:, :, :6])
    assert refusal(path, content).startswith("task.image_size: ")
    assert built(path, content, image_size=6).test.inputs[:].shape == (12, 3, 6, 6)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"y_test": None}, "there is no array 'y_test'; the file holds x_train, y_train, x_test"),
        ({"y_train": labels(39, 4)}, "are 40 in 'x_train' and 39 in 'y_train'"),
        ({"y_test": labels(12, 4) + 1}, "labels must lie from 0 to 3, the highest of 'y_train'"),
        ({"y_test": labels(12, 4) - 1}, "but 'y_test' holds -1 to 2"),
        ({"y_train": labels(40, 4) / 1.0}, "'y_train' must be whole numbers [N], but is float64"),
        ({"y_train": labels(40, 4)[:, None]}, "but is int64 of shape (40, 1)"),
        (
            {"x_train": pixels(40, 8).astype(np.int32)},
            "'x_train' must be uint8 or float, but is int32",
        ),
        ({"x_train": pixels(40, 8, 5)}, "but has shape (40, 5, 8, 8)"),
        ({"x_train": pixels(40, 8)[:, 0, 0, 0]}, "but has shape (40,)"),
        ({"x_test": pixels(12, 9)}, "are (3, 8, 8) in 'x_train' and (3, 9, 9) in 'x_test'"),
        ({"x_test": pixels(12, 8) / 255}, "are torch.uint8 in 'x_train' and torch.float32"),
        ({"x_test": np.full((12, 3, 8, 8), np.nan)}, "'x_test' holds NaN or infinity"),
        ({"y_test": np.array([None] * 12)}, "plain arrays: Object arrays cannot be loaded"),
        (
            {"x_test": pixels(0, 8), "y_test": labels(0)},
            "at least one, but there are 0 in 'x_test'",
        ),
    ],
)
def test_what_is_wrong_with_the_arrays(path, changes, found):
    message = refusal(path, arrays(**changes))
    assert message.startswith(f"{path}: ")
    assert found in message


def test_what_is_wrong_with_the_file(path, tmp_path):
    assert refusal(path) == f"task.root: there is no .npz file at {path}"
    assert "needs its .npz file" in refusal(None)
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[:-500])
    assert refusal(path).startswith(f"{path}: this is no .npz file of plain arrays: ")
    path.write_bytes(b"")
    assert "no .npz file of plain arrays" in refusal(path)
    np.save(tmp_path / "one.npy", np.ones(3))
    assert "plain arrays: a single array" in refusal(tmp_path / "one.npy")


def test_a_flipped_bit_is_noticed(path):
    np.savez(path, **arrays())
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    assert "Bad CRC-32" in refusal(path)


def test_classes_too_rare_for_a_validation_split(path):
    rare = labels(40, 4)
    rare[rare == 3] = 0
    rare[0] = 3
    message = refusal(path, arrays(y_train=rare))
    assert message.startswith("task.protocol: 40 training examples of 4 classes are too few")
    assert built(path, arrays(y_train=rare), protocol="paper").selects_on_test
