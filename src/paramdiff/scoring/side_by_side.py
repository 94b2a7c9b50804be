"""Many sets at once on a CPU: one thread for each, rather than all threads for one.

Threads that share the work of one small operation mostly wait for each other; threads that each
evaluate a set of their own do not. The labels are the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import torch

Worker = TypeVar("Worker")
Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    workers: Sequence[Worker],
    items: Iterable[Item],
    function: Callable[[Worker, Item], Result],
) -> Iterator[Result]:
    """Apply a function to items, as many at a time as there are workers.

    Args:
        workers: what each thread has for itself; with one, nothing runs beside anything.
        items: read as they are needed.
        function: of a worker and an item; runs in inference mode.

    Yields:
        The results in the items' order.
    """
    if len(workers) == 1:
        for item in items:
            yield in_inference_mode(function, workers[0], item)
        return
    remaining = iter(items)
    with one_thread_per_operation(), ThreadPoolExecutor(len(workers)) as pool:
        while some := list(islice(remaining, len(workers))):
            futures = [
                pool.submit(in_inference_mode, function, worker, item)
                for worker, item in zip(workers, some, strict=False)
            ]
            yield from [future.result() for future in futures]


def in_inference_mode(
    function: Callable[[Worker, Item], Result], worker: Worker, item: Item
) -> Result:
    """Call a function; the mode belongs to a thread, so that each must enter it."""
    with torch.inference_mode():
        return function(worker, item)


@contextmanager
def one_thread_per_operation() -> Iterator[None]:
    """Threads that start inside run torch's operations by themselves."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
