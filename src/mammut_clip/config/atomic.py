"""Writing so that a reader, or a crash, never meets half a file: temporary name, flush, rename."""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from mammut_clip.config.errors import InputError


class DiskFullError(InputError):
    """The file system that should hold a file has no room left."""

    def __init__(self, path: Path, error: OSError) -> None:
        anchor = next((parent for parent in [path, *path.parents] if parent.exists()), Path("/"))
        free = shutil.disk_usage(anchor).free
        super().__init__(
            f"{path}: {os.strerror(error.errno or errno.ENOSPC)} ({free / 2**20:.0f} MiB free on that file system). "
            "Nothing complete was lost: make room and run the same command again."
        )


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or an exhausted quota, also as the cause of another error, into DiskFullError."""
    try:
        yield
    except Exception as error:
        full = _disk_full_cause(error)
        if full is None:
            raise
        raise DiskFullError(path, full) from error


def _disk_full_cause(error: BaseException | None) -> OSError | None:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return error
        error = error.__cause__ or error.__context__
    return None


def _temporary(path: Path) -> Path:
    """A hidden name in the same folder; unlike one made of a process id, it is unique among the hosts that share it."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Name the file that cannot be written."""
    with disk_errors(path):
        try:
            yield
        except OSError as error:
            if _disk_full_cause(error):
                raise
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file open for writing bytes that appears under `path` when the block ends, and not at all if it fails.

    Raises DiskFullError where there is no room, InputError where the folder cannot be written.
    """
    temporary = _temporary(path)
    with _write_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, to be filled and renamed to it; removed if it is still there afterwards."""
    temporary = _temporary(path.absolute())
    with _write_errors(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, whole or not at all. Raises DiskFullError where there is no room."""
    with atomic_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def append_line(path: Path, line: str) -> None:
    """Add a line to a file of lines, on disk before this returns; one that was cut off before (a full disk, a kill)
    does not swallow it. Raises DiskFullError, or OSError where the file cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(path):
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(file).st_size
            is_whole = size == 0 or os.pread(file, 1, size - 1) == b"\n"
            data = (("" if is_whole else "\n") + line + "\n").encode()
            if os.write(file, data) < len(data):  # a file system that is full takes a part
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        finally:
            os.close(file)


def read_json(path: Path) -> Any | None:
    """The value in a JSON file; None where the file is absent or was cut off by a crash."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError, json.JSONDecodeError):
        return None
