"""Ray workers for independent pieces of work; the only file that imports Ray.

Functions with such pieces take a ``FanOut`` or None; with None they work in this process. A piece
either returns something small or writes files to a folder that every machine sees. A piece whose
worker died is retried, and resumes if it keeps its state in a file.
"""

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from paramdiff.errors import UserError
from paramdiff.progress import Progress

RETRIES = 3
OBJECT_STORE_BYTES = 2**29
"""Shared memory of a local cluster; what does not fit is spilled to disk."""

CONNECTION_SECONDS = 10

Prepare = Callable[..., Callable[[Any], Any]]
"""Shared arguments to the function of one piece; called once in each worker."""

_prepared: dict[str, Callable[[Any], Any]] = {}
"""In a worker: the function of its latest job."""


class FanOut:
    """A connected cluster.

    Args:
        device: where pieces compute; each takes a core, and on CUDA a GPU.

    Attributes:
        num_workers: number of pieces that run at a time.
    """

    def __init__(self, device: torch.device) -> None:
        import ray

        needed = {"CPU": 1.0} | ({"GPU": 1.0} if device.type == "cuda" else {})
        there = ray.cluster_resources()
        self.num_workers = int(min(there.get(kind, 0) // num for kind, num in needed.items()))
        if not self.num_workers:
            raise UserError(f"--ray: no worker has a {max(needed)}")
        self._options = {"num_gpus": needed.get("GPU", 0), "max_retries": RETRIES}

    def job(self, prepare: Prepare, *material: Any) -> "Job":
        """Create a job; what its pieces share is sent to each worker once.

        Args:
            prepare: a module-level function from the shared arguments to that of one piece.
            *material: the shared arguments.

        Returns:
            The job.
        """
        return Job(prepare, material, self._options)


class Job:
    """Pieces of work with shared arguments; see ``FanOut.job``."""

    def __init__(self, prepare: Prepare, material: tuple, options: dict[str, Any]) -> None:
        import ray

        self._shared = [ray.put((prepare, material))]  # in a list, a reference stays one
        self._work = ray.remote(**options)(_work)

    def results(
        self, pieces: Sequence[Any], after: Mapping[int, int] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Work on all pieces.

        Args:
            pieces: the arguments of the function, one each.
            after: index of a piece to that of an earlier one which has to be over first.

        Yields:
            Index and result of each piece as it ends; the exception in place of the result if the
            piece raised one, or a ``UserError`` if its workers keep dying.
        """
        import ray

        after, over = after or {}, set[int]()
        waiting, running = dict(enumerate(pieces)), dict[Any, int]()
        while waiting or running:
            for index in [i for i in waiting if i not in after or after[i] in over]:
                running[self._work.remote(self._shared, waiting.pop(index))] = index
            (reference,), _ = ray.wait(list(running))
            index = running.pop(reference)
            over.add(index)
            yield index, _outcome(reference)

    def run(self, pieces: Sequence[Any], progress: Progress) -> list[Any]:
        """Work on all pieces, in any order.

        Args:
            pieces: the arguments of the function, one each.
            progress: called with pieces done and in all.

        Returns:
            The results, in the order of the pieces.

        Raises:
            UserError: the workers of a piece keep dying. What a piece raises is raised here.
        """
        found: dict[int, Any] = {}
        for index, result in self.results(pieces):
            if isinstance(result, Exception):
                raise result
            found[index] = result
            progress(len(found), len(pieces))
        return [found[index] for index in range(len(pieces))]


@contextmanager
def connected(address: str | None, device: torch.device) -> Iterator[FanOut | None]:
    """Connect to a cluster for as long as the block runs.

    Args:
        address: ``local`` starts workers on this machine, one per core; another one is that of a
            running cluster; None connects to nothing.
        device: see ``FanOut``.

    Yields:
        The cluster; None without an address.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    if address is None:
        yield None
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"address": address}
    if address == "local":
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a token would be written to HOME
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        # a user's own modules are where this process found them
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError("--ray: this needs ray: pip install 'paramdiff[ray]'") from None
    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if port.isdigit():  # Ray itself waits for minutes
            socket.create_connection((host, int(port)), CONNECTION_SECONDS).close()
        ray.init(log_to_driver=False, logging_level="ERROR", **options)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"--ray {address}: there is no Ray cluster ({reason})") from None
    try:
        yield FanOut(device)
    finally:
        ray.shutdown()


def _work(shared: list[Any], piece: Any) -> Any:
    import ray

    (reference,) = shared
    if reference.hex() not in _prepared:
        prepare, material = ray.get(reference)
        _prepared.clear()
        _prepared[reference.hex()] = prepare(*material)
    return _prepared[reference.hex()](piece)


def _outcome(reference: Any) -> Any:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return error.cause
    except ray.exceptions.RayError as error:
        reason = str(error).strip().split("\n")[0]
        return UserError(f"--ray: a worker died {RETRIES + 1} times over one piece ({reason})")
