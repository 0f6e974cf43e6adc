"""One holder among the processes of one machine: an advisory lock of the kernel (flock), for launchers and local jobs.

A killed holder leaves none behind. Whether two hosts that share a file system see each other's is the file system's
affair, often not: what must hold among hosts, the writing of a run, is guarded by a lease (runs.lease).
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mammut_clip.config.errors import InputError

_PATIENCE_SECONDS = 0.5


class RunIsLockedError(InputError):
    """Another process is writing this run."""

    def __init__(self, path: Path, holder: str = "another process") -> None:
        super().__init__(f"{path.parent}: {holder} is training this run now; wait for it or stop it first")


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock file `path` inside the block. Raises RunIsLockedError where another process holds it.

    Waits a moment first: `is_held` of a launcher that looks around takes the lock for an instant.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _try(file):
            if time.monotonic() > deadline:
                raise RunIsLockedError(path)
            time.sleep(0.02)
        yield


def is_held(path: Path) -> bool:
    """Whether some process holds the lock file `path` now."""
    if not path.exists():
        return False
    with path.open("a") as file:
        return not _try(file)


def _try(file: IO[str]) -> bool:
    """Take the lock of an open file, until it is closed; whether that was possible."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
