"""Arrays in files hold what arrays in memory hold, and leave nothing behind."""

import gc
import subprocess
import sys

import numpy as np
import pytest
import torch

from paramdiff import memmap
from paramdiff.errors import UserError
from paramdiff.memmap import (
    _MAPPINGS,
    centered_products,
    column_blocks,
    column_moments,
    empty_array,
    free_pages,
    map_rows,
    row_blocks,
)

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_budget_is_in_bytes(tmp_path, dtype):
    size = 15 * dtype.itemsize
    before = len(_MAPPINGS)
    inside = empty_array(3, 5, dtype, tmp_path, size)
    assert len(_MAPPINGS) == before
    outside = empty_array(3, 5, dtype, tmp_path, size - 1)
    assert len(_MAPPINGS) == before + 1
    for array in (inside, outside):
        assert (array.shape, array.dtype) == ((3, 5), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_released_values_stay(tmp_path, dtype):
    array = empty_array(40, 1000, dtype, tmp_path, 0)
    values = torch.arange(40_000, dtype=dtype).view(40, 1000)
    for row, value in zip(array, values, strict=True):
        row.copy_(value)
        free_pages(array)
    assert array.equal(values)
    free_pages(array[3:, 10:])  # a view releases all of it
    assert array[5:, 2:].equal(values[5:, 2:])


def test_memory_is_left_alone():
    values = torch.ones(2, 3)
    free_pages(values)
    assert values.eq(1).all()


def test_nothing_stays_in_the_folder_or_the_register(tmp_path):
    before = len(_MAPPINGS)
    array = empty_array(3, 5, torch.float32, tmp_path, 0)
    row = array[1].fill_(2)
    del array
    assert row.eq(2).all() and len(_MAPPINGS) == before + 1
    del row
    gc.collect()
    assert len(_MAPPINGS) == before and not list(tmp_path.iterdir())


def test_a_full_disk_is_told(tmp_path):
    with pytest.raises(UserError, match=r"cannot reserve .* MB for unfinished work: "):
        empty_array(1 << 30, 1 << 27, torch.float32, tmp_path)


WALK = """
import sys, torch
from pathlib import Path
from paramdiff import memmap
from paramdiff.memmap import column_moments, empty_array, free_pages
def resident():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
array = empty_array(200, 1 << 18, torch.float32, Path(sys.argv[1]), 0)
before = resident()
for _ in range(2):
    for row in array:
        row += 1
        free_pages(array)
print((resident() - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what memory a process held")
def test_what_is_released_takes_no_memory(tmp_path):
    """200 MB pass by twice."""
    done = subprocess.run(
        [sys.executable, "-c", WALK, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True
    )
    assert float(done.stdout) < 20


@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_moments_of_columns_are_numpys(tmp_path, monkeypatch, budget):
    monkeypatch.setattr(memmap, "BLOCK_VALUES", 30)  # several blocks, the last one shorter
    array = empty_array(7, 23, torch.float32, tmp_path, budget)
    array.copy_(3 + torch.randn(7, 23))
    mean, variance = column_moments(array)
    np.testing.assert_allclose(mean, array.double().numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(variance, array.double().numpy().var(0, ddof=1), rtol=1e-12)
    assert column_moments(array[:1])[1].equal(torch.zeros(23, dtype=torch.float64))


def test_without_a_folder_everything_is_in_memory():
    before = len(_MAPPINGS)
    assert empty_array(3, 5, torch.float32, None, 0).shape == (3, 5)
    assert len(_MAPPINGS) == before


@pytest.mark.parametrize("values", [1, 30, 1000])
def test_blocks_are_all_of_an_array_and_no_larger_than_asked(monkeypatch, values):
    monkeypatch.setattr(memmap, "BLOCK_VALUES", values)
    one, other = torch.arange(161.0).view(7, 23), torch.arange(46.0).view(2, 23)
    blocks = list(column_blocks(one, other))
    assert torch.cat([one[:, columns] for columns in blocks], 1).equal(one)
    assert all(one[:, columns].numel() + 2 <= max(values, 9) for columns in blocks)
    rows = list(row_blocks(one))
    assert torch.cat(rows).equal(one)
    assert all(row.numel() <= max(values, 23) for row in rows)


@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_rows_from_rows(tmp_path, monkeypatch, budget):
    monkeypatch.setattr(memmap, "BLOCK_VALUES", 30)
    monkeypatch.setattr(memmap, "MEMORY_BUDGET", budget)
    given = torch.randn(7, 23)
    asked = []

    def compute(rows):
        asked.append(len(rows))
        return rows[:, :10] * 2

    assert map_rows(given, compute, 10, tmp_path).equal(given[:, :10] * 2)
    assert asked == [3, 3, 1]


def test_centred_products_are_numpys(monkeypatch):
    monkeypatch.setattr(memmap, "BLOCK_VALUES", 30)
    array = 3 + torch.randn(7, 23)
    expected = array.double().numpy() - array.double().numpy().mean(0)
    np.testing.assert_allclose(centered_products(array), expected @ expected.T, atol=1e-12)
