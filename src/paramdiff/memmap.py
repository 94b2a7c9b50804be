"""Memory-mapped arrays in temporary files, for arrays larger than memory.

The file has no name and disappears with its array or with the process. Pages of a mapped array
that were read or written count as the process's memory until ``free_pages`` returns them: a loop
over such an array in blocks frees them after each block and never holds more than one.
"""

import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from paramdiff.errors import UserError

MEMORY_BUDGET = 2**30
"""Maximum bytes of an array held in memory; larger ones are memory-mapped."""

BLOCK_VALUES = 1 << 22
"""Number of values processed at a time."""

_MAPPINGS: WeakValueDictionary[int, mmap.mmap] = WeakValueDictionary()
"""Mapping of every mapped array, by address; dropped with the array."""


def empty_array(
    rows: int,
    columns: int,
    dtype: torch.dtype,
    folder: Path | None,
    memory_budget: int | None = None,
) -> Tensor:
    """Allocate an array in memory if it fits the budget, else in a file.

    Args:
        rows: number of rows.
        columns: number of columns.
        dtype: type of the values.
        folder: existing folder for the file; None allocates in memory, whatever the size.
        memory_budget: bytes; ``MEMORY_BUDGET`` by default.

    Returns:
        ``[rows, columns]``.

    Raises:
        UserError: the disk is full.
    """
    num_bytes = rows * columns * dtype.itemsize
    budget = MEMORY_BUDGET if memory_budget is None else memory_budget
    if folder is None or num_bytes <= budget:
        return torch.empty(rows, columns, dtype=dtype)
    with TemporaryFile(dir=folder) as file:
        try:  # running out of space while writing to the mapping would kill the process
            file.truncate(num_bytes)
            if hasattr(os, "posix_fallocate"):  # macOS has none
                os.posix_fallocate(file.fileno(), 0, num_bytes)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot reserve {num_bytes / 2**20:,.0f} MB for unfinished work: "
                f"{error.strerror}"
            ) from None
        mapping = mmap.mmap(file.fileno(), num_bytes)
    array = torch.frombuffer(mapping, dtype=dtype).view(rows, columns)
    _MAPPINGS[array.data_ptr()] = mapping
    return array


def free_pages(array: Tensor) -> None:
    """Free the resident pages of a mapped array, or of the array that it is a view of.

    The values are kept. Arrays in memory are not affected.

    Args:
        array: any tensor.
    """
    mapping = _MAPPINGS.get(array.untyped_storage().data_ptr())
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)


def column_blocks(*arrays: Tensor) -> Iterator[slice]:
    """Iterate over blocks of columns, freeing their pages after each block.

    Args:
        *arrays: ``[any, P]``, possibly mapped.

    Yields:
        Slices of columns, for which the blocks of all arrays have a fixed total size.
    """
    width = max(1, BLOCK_VALUES // sum(map(len, arrays)))
    for start in range(0, arrays[0].shape[1], width):
        yield slice(start, start + width)
        for array in arrays:
            free_pages(array)


def row_blocks(array: Tensor) -> Iterator[Tensor]:
    """Iterate over blocks of rows, freeing their pages after each block.

    Args:
        array: ``[N, P]``, possibly mapped.

    Yields:
        Views of ``[B, P]``.
    """
    for rows in array.split(max(1, BLOCK_VALUES // array.shape[1])):
        yield rows
        free_pages(rows)


def map_rows(
    array: Tensor, compute: Callable[[Tensor], Tensor], columns: int, folder: Path | None
) -> Tensor:
    """Map blocks of rows to rows of a new array.

    Args:
        array: ``[N, any]``, possibly mapped.
        compute: function from rows ``[B, any]`` to ``[B, columns]``.
        columns: number of columns of the result.
        folder: see ``empty_array``.

    Returns:
        ``[N, columns]`` of float32, mapped if too large.
    """
    made = empty_array(len(array), columns, torch.float32, folder)
    together = max(1, BLOCK_VALUES // columns)
    for given, rows in zip(array.split(together), made.split(together), strict=True):
        rows.copy_(compute(given))
        free_pages(given)
        free_pages(rows)
    return made


def column_moments(array: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and unbiased variance of every column, in blocks; 0 for a single row.

    Args:
        array: ``[N, P]``, possibly mapped.

    Returns:
        Two tensors ``[P]`` of float64.
    """
    means, variances = [], []
    for columns in column_blocks(array):
        values = array[:, columns].double()
        means.append(values.mean(0))
        # torch.var is up to ten times slower along rows
        variances.append((values - means[-1]).square_().sum(0) / max(1, len(values) - 1))
    return torch.cat(means), torch.cat(variances)


def centered_products(array: Tensor) -> Tensor:
    """Compute inner products of all rows after subtracting their mean, in blocks.

    Args:
        array: ``[N, P]``, possibly mapped.

    Returns:
        ``[N, N]`` of float64.
    """
    products = torch.zeros(len(array), len(array), dtype=torch.float64)
    for columns in column_blocks(array):
        values = array[:, columns].double()
        centered = values - values.mean(0)
        products += centered @ centered.T
    return products
