"""Shards that come out of commands: `pipe:aws s3 cp s3://bucket/00000.tar -`, run as webdataset runs them.

A command's output can be read only from its beginning, so the whole of it is written to a file, of which parts are then
read. The commands stand in the user's config and are run by a shell, with the user's rights.
"""

import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path

from mammut_clip.config.atomic import disk_errors
from mammut_clip.data.shards.retries import Retries, TryAgainError

_PIECE = 2**20


def spool(url: str, retries: Retries, path: Path, count: Callable[[int], None]) -> None:
    """Write the output of the command to `path`; `count(bytes so far)` is called before each piece, and may raise.

    Raises DiskFullError, and ShardReadError naming command and exit code where it keeps failing or writes nothing.
    """
    retries.run(url, lambda: _run(url, path, count))


def _run(url: str, path: Path, count: Callable[[int], None]) -> None:
    from webdataset.gopen import gopen

    pipe = gopen(url, "rb")
    written = 0
    try:
        with disk_errors(path), path.open("wb") as file:
            while piece := pipe.stream.read(_PIECE):
                count(written + len(piece))
                written += file.write(piece)
    except BaseException:
        pipe.proc.kill()
        raise
    finally:
        pipe.stream.close()
        code = pipe.proc.wait()
    if code:
        raise TryAgainError(f"the command ended with exit code {code}")
    if not written:
        raise TryAgainError("the command wrote nothing")


@cache
def temporary_folder() -> Path:
    """Where this process and those it forks keep what came out of pipes; removed when this process ends."""
    folder = Path(tempfile.gettempdir()) / f"mammut-clip-{uuid.uuid4().hex}"
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not a fork, which ends earlier
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
