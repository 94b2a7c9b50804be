"""File locks, so that one program at a time writes a folder.

The operating system releases the locks of a killed program. The lock file is removed with its
lock, and so are folders that were created for it and stayed empty.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from paramdiff.errors import UserError
from paramdiff.storage import PARTIAL


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Lock the folder of a run or a sweep while the block runs.

    Args:
        folder: need not exist; the lock file lies in it.

    Yields:
        Nothing.

    Raises:
        UserError: another program is at work there, or the path is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: this is a file, not a folder")
    with _locked(folder / f"{PARTIAL}lock", folder):
        yield


@contextmanager
def sole_maker(path: Path) -> Iterator[None]:
    """Lock a new folder while the block creates it.

    Args:
        path: must not exist; the lock file lies beside it.

    Yields:
        Nothing.

    Raises:
        UserError: another program is at work there, or the path exists.
    """
    whole = path.resolve()
    with _locked(whole.with_name(f"{PARTIAL}{whole.name}.lock"), path):
        refuse_existing(path)
        yield


def refuse_existing(path: Path) -> None:
    """Raise a ``UserError`` if the path of a new folder exists."""
    if path.exists():
        raise UserError(f"{path}: this exists already; name a new folder")


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
            f"{whose}: another program is at work in this folder; wait for it to end"
        ) from None
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # while the lock is held, so that waiting programs see it
        lock.release()
        with suppress(OSError):  # the first that is not empty
            for parent in made:
                parent.rmdir()
