"""Files that are either complete or absent: written under a temporary name beside the final one, then
renamed."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mammut_clip.config.errors import InputError


def _temporary(path: Path) -> Path:
    """A hidden name in the same folder; unlike one made of a process id, it is unique among the hosts that share it."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file open for writing bytes that appears under `path` when the block ends, and not at all if it
    fails.

    Raises InputError, naming the file, where the disk is full or the folder cannot be written.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    with atomic_file(path) as file:
        file.write(text.encode())


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, to be filled and renamed to it; removed if it is still there
    afterwards."""
    temporary = _temporary(path.absolute())
    try:
        temporary.mkdir(parents=True)
        yield temporary
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
