"""One program at a time writes a folder.

The locks are the system's: a killed program leaves none. A lock's file goes with it, and so do
folders that were made for the file and stayed empty.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from paramdiff.errors import UserError
from paramdiff.storage import PARTIAL


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """While it lasts, no other program completes the same folder: a run's, or a sweep's.

    Args:
        folder: need not exist; the lock's file lies in it.

    Yields:
        Nothing.

    Raises:
        UserError: another program is at work there, or it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: expected a folder, found a file")
    with _locked(folder / f"{PARTIAL}lock", folder):
        yield


@contextmanager
def sole_maker(path: Path) -> Iterator[None]:
    """While it lasts, no other program makes the same new folder.

    Args:
        path: must not exist; the lock's file lies beside it.

    Yields:
        Nothing.

    Raises:
        UserError: another program is at work there, or there is something already.
    """
    whole = path.resolve()
    with _locked(whole.with_name(f"{PARTIAL}{whole.name}.lock"), path):
        refuse_existing(path)
        yield


def refuse_existing(path: Path) -> None:
    """Raise a ``UserError`` where a new folder is to be made and something lies there."""
    if path.exists():
        raise UserError(f"{path}: expected a new folder, found an existing one")


@contextmanager
def _locked(file: Path, whose: Path) -> Iterator[None]:
    file = file.absolute()
    made = [parent for parent in file.parents if not parent.exists()]
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(
            f"{whose}: another program is at work in this folder; expected to be alone"
        ) from None
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # while it is held: whoever waits would see that it is gone
        lock.release()
        with suppress(OSError):  # the first that is not empty
            for parent in made:
                parent.rmdir()
