"""One writer per run: an advisory lock held for the life of the training process.

The lock is the kernel's (flock), so a killed holder leaves none behind.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mammut_clip.config.errors import InputError


class RunIsLockedError(InputError):
    """Another process is writing this run."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path.parent}: another process is training this run now; wait for it or stop it first")


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock file `path` inside the block. Raises RunIsLockedError where another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunIsLockedError(path) from error
        yield


def is_held(path: Path) -> bool:
    """Whether some process holds the lock file `path` now."""
    if not path.exists():
        return False
    try:
        with hold(path):
            return False
    except RunIsLockedError:
        return True
