"""Images become inputs as torchvision's transforms make them; the generator decides the draws."""

import pytest
import torch

from paramdiff.tasks.images import ImageFiles, Pixels, Preparation, PreparedImages, decode

from .formats import pixels, write_image

v2 = pytest.importorskip("torchvision.transforms.v2")

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(num=6, size=40, seed=0):
    return torch.from_numpy(pixels(num, size, seed=seed))


def prepared(size=32, num=6):
    return PreparedImages(Pixels(images(num)), torch.arange(num), Preparation(size, MEAN, STD))


@pytest.mark.parametrize(("size", "resized"), [(224, 256), (64, 64), (32, 32), (40, 40)])
def test_the_middle_is_torchvisions(size, resized):
    """Large inputs are the middle of a larger image; small ones the whole of its shorter side."""
    raw = torch.from_numpy(pixels(3, 40))[:, :, :, :36]
    expected = v2.Compose([v2.Resize(resized), v2.CenterCrop(size)])(raw)
    assert Preparation(size, MEAN, STD).middle(raw).equal(expected)


def test_inputs_are_torchvisions_normalized_floats():
    steps = [v2.Resize(32), v2.CenterCrop(32), v2.ToDtype(torch.float32, scale=True)]
    expected = v2.Compose([*steps, v2.Normalize(MEAN, STD)])(images())
    torch.testing.assert_close(prepared()[:], expected, rtol=1e-5, atol=1e-6)


def test_files_give_what_their_pixels_give(tmp_path):
    for number in range(5):
        write_image(tmp_path / f"{number}.png", number, (50, 40 + number))
    files = ImageFiles(tuple(tmp_path / f"{number}.png" for number in range(5)))
    preparation = Preparation(16, MEAN, STD)
    found = PreparedImages(files, torch.tensor([3, 1, 4]), preparation)
    assert len(found) == 3 and found[:].shape == (3, 3, 16, 16)
    for row, number in enumerate([3, 1, 4]):
        pixels_of_it = Pixels(decode(files.paths[number])[None])
        alone = PreparedImages(pixels_of_it, torch.arange(1), preparation)
        assert found[row : row + 1].equal(alone[:])
        crop = found.augmented(torch.tensor([row]), generator(row))
        assert crop.equal(alone.augmented(torch.tensor([0]), generator(row)))


@pytest.mark.parametrize("rows", [slice(1, 4), slice(0, 0), torch.tensor([4, 0, 4])])
def test_rows_are_rows_of_the_whole(rows):
    inputs = prepared()
    assert inputs[rows].equal(inputs[:][rows])


def test_some_of_the_images():
    whole, numbers = prepared(), torch.tensor([5, 0, 3])
    part = PreparedImages(whole.images, numbers, whole.preparation)
    assert len(part) == 3 and part[:].equal(whole[numbers])
    assert part.augmented(torch.arange(3), generator()).equal(
        whole.augmented(numbers, generator())
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_crop_is_torchvisions(seed):
    """For one image the draws of its transform come first, then the mirror's."""
    (image,) = images(1)
    found = Preparation(32, MEAN, STD).random_crops([image], seed)[0]
    torch.manual_seed(seed)
    expected = v2.RandomResizedCrop(32)(image)
    assert found.equal(expected) or found.equal(expected.flip(-1))


def test_half_of_the_images_are_mirrored():
    image = torch.arange(32, dtype=torch.uint8).expand(1, 3, 32, 32)[0] * 8  # brighter rightwards
    crops = Preparation(32, MEAN, STD).random_crops([image] * 400, 0).float()
    is_mirrored = crops[..., 0].mean((1, 2)) > crops[..., -1].mean((1, 2))
    assert 160 < int(is_mirrored.sum()) < 240


def test_the_generator_decides_and_nothing_else_moves():
    inputs, rows = prepared(), torch.tensor([0, 1, 1])
    before = torch.get_rng_state()
    first = inputs.augmented(rows, generator(0))
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(123)
    assert inputs.augmented(rows, generator(0)).equal(first)
    assert not inputs.augmented(rows, generator(1)).equal(first)
    assert not first[1].equal(first[2])  # the same image, drawn twice
    stream = generator(0)
    inputs.augmented(rows, stream)
    assert not inputs.augmented(rows, stream).equal(first)  # the generator goes on


def test_float_images_are_taken_as_they_are():
    values = torch.randn(4, 1, 8, 8)
    inputs = PreparedImages(Pixels(values), torch.arange(4), Preparation(8, (), ()))
    assert inputs[:].equal(values)
    crops = inputs.augmented(torch.arange(4), generator())
    assert crops.shape == values.shape and crops.dtype == torch.float32
    assert crops.min() >= values.min() - 1e-5 and crops.max() <= values.max() + 1e-5


def test_images_in_memory_stay_bytes():
    inputs = prepared()
    inputs[:], inputs.augmented(torch.arange(6), generator())
    assert inputs.images.values.dtype == torch.uint8
    assert inputs.images.values.equal(images())
