"""One program at a time writes a folder."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from paramdiff.artefacts import PARTIAL
from paramdiff.errors import UserError


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """While it lasts, no other program that asks likewise writes there.

    The lock is the system's: a killed program leaves none. Its file lies beside the folder and
    goes with it, and so do folders that were made for the file and stayed empty.

    Args:
        path: the folder; need not exist.

    Yields:
        Nothing.

    Raises:
        UserError: another program has the folder.
    """
    whole = path.resolve()
    made = [parent for parent in whole.parents if not parent.exists()]
    whole.parent.mkdir(parents=True, exist_ok=True)
    file = whole.with_name(f"{PARTIAL}{whole.name}.lock")
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(
            f"{path}: another program is at work in this folder; expected to be alone"
        ) from None
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # while it is held: whoever waits would see that it is gone
        lock.release()
        with suppress(OSError):  # the first that is not empty
            for parent in made:
                parent.rmdir()
