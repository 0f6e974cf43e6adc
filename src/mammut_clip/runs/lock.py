"""One holder among the processes of one machine: an advisory lock of the kernel (flock), for launchers and local jobs.

A killed holder leaves none behind. Whether two hosts that share a file system see each other's is the file system's
affair, often not: what must hold among hosts, the writing of a run, is guarded by a lease (runs.lease).
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mammut_clip.config.errors import InputError


class RunIsLockedError(InputError):
    """Another process is writing this run."""

    def __init__(self, path: Path, holder: str = "another process") -> None:
        super().__init__(f"{path.parent}: {holder} is training this run now; wait for it or stop it first")


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock file `path` inside the block. Raises RunIsLockedError where another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("ab") as file:
            if _try(file, fcntl.LOCK_EX):
                yield
                return
        if is_held(path):
            raise RunIsLockedError(path)
        time.sleep(0.02)  # somebody looked whether it is held


def is_held(path: Path) -> bool:
    """Whether some process holds the lock file `path` now. Those that ask this do not see each other."""
    try:
        with path.open("rb") as file:
            return not _try(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _try(file: BinaryIO, kind: int) -> bool:
    """Take the lock of an open file, until it is closed; whether that was possible."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
