"""The files of a lease, `lock.1`, `lock.2`, ...: each made once, by one process, whole; the highest number counts."""

import errno
import os
import re
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mammut_clip.runs.holder import Holder

LEASE_SECONDS = 60.0
"""How long a holder that died out of sight keeps others waiting."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_READS = 5
_LOOKS = 100


@dataclass(frozen=True)
class LeaseFile:
    """What stands in lock.<number>."""

    number: int
    data: bytes
    written: float
    """When, by the file system's clock."""
    holder: Holder | None
    """None where the record is not whole."""

    @property
    def lease_seconds(self) -> float:
        return LEASE_SECONDS if self.holder is None else self.holder.lease_seconds


def numbered(path: Path, number: int) -> Path:
    """lock -> lock.<number>."""
    return path.with_name(f"{path.name}.{number}")


def numbers(path: Path) -> list[int]:
    """The numbers of the files of the lease `path`, ascending."""
    name = re.compile(re.escape(path.name) + r"\.([1-9][0-9]*)")
    entries = path.parent.iterdir() if path.parent.is_dir() else []
    return sorted(int(match.group(1)) for entry in entries if (match := name.fullmatch(entry.name)))


def newest(path: Path) -> LeaseFile | None:
    """The file with the highest number; None where there is none."""
    for _ in range(_LOOKS):
        found = numbers(path)
        if not found:
            return None
        file = read(numbered(path, found[-1]))
        if file is not None:
            return file
        # Followed by a higher one since; or this host remembers an old listing, and a change of its own makes it ask.
        file_system_time(path.parent)
        time.sleep(0.05)
    raise OSError(errno.ESTALE, f"{numbered(path, found[-1]).name} is listed and cannot be opened")


def read(path: Path) -> LeaseFile | None:
    """One file of a lease; None where it is not there. (To open it makes a network file system ask its server.)"""
    for last in [False] * (_READS - 1) + [True]:
        try:
            with path.open("rb", buffering=0) as file:
                data, written = file.read(), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ESTALE and not last:
                continue
            raise
        holder = Holder.decode(data)
        if holder is not None:
            break
        time.sleep(0.01)  # perhaps it is being written
    return LeaseFile(int(path.suffix[1:]), data, written, holder)


def create(path: Path, holder: Holder) -> bool:
    """Make a file that is not there yet; whether it was us: of many that try at once, one succeeds.

    link(2) of a complete file; open(2) with O_EXCL where the file system has no links.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    failure: OSError | None = None
    try:
        _write_new(temporary, holder)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError as error:
            failure = error
            if error.errno in _NO_LINKS:
                with suppress(FileExistsError):
                    _write_new(path, holder)
    finally:
        temporary.unlink(missing_ok=True)
    # Not the call but the file says who made it: NFS may report a failure of what it has done.
    found = read(path)
    if found is None and failure is not None:
        raise failure
    return found is not None and found.holder is not None and found.holder.id == holder.id


def file_system_time(folder: Path) -> float:
    """The time now by the clock of the file system, which may not be this host's."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".lock.") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # may not write there
        return time.time()


def _write_new(path: Path, holder: Holder) -> None:
    with path.open("xb") as file:
        try:
            file.write(holder.encode())
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
