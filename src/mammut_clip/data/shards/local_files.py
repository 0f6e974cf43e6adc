"""Reading parts of local files, which stay open between reads.

Positions belong to reads and not to descriptors (pread), so threads and forked processes can share them. A descriptor
is closed when nobody uses it any more: dropping one from the table cannot pull it from under a read.
"""

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.byte_ranges import Range, Stamp
from mammut_clip.data.shards.retries import Retries

OPEN_FILES = 256  # well below the usual limit of 1,024 per process


class _OpenFile:
    """A descriptor that is closed with the last reference to it."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, start: int, count: int) -> bytes:
        data = os.pread(self.descriptor, count, start)
        if len(data) == count or not data:
            return data
        pieces, have = [data], len(data)
        while have < count and (data := os.pread(self.descriptor, count - have, start + have)):
            pieces.append(data)
            have += len(data)
        return b"".join(pieces)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        with suppress(AttributeError):  # it could not be opened
            close(self.descriptor)


def stamp_of_file(path: str) -> Stamp:
    """Size and modification time. Raises OSError, and InputError for a folder."""
    state = Path(path).stat()
    if not stat.S_ISREG(state.st_mode):
        raise InputError(f"{path}: not a file; expected a tar file")
    return Stamp(state.st_size, str(state.st_mtime_ns))


class LocalFiles:
    """The files that this process reads, the most recently used of them open."""

    def __init__(self) -> None:
        self._open: dict[str, _OpenFile] = {}  # the most recently used last

    def read(self, path: str, runs: Sequence[Range]) -> list[bytes]:
        """The bytes of each run, fewer at the end of the file. Raises OSError."""
        file = self._file(path)
        try:
            return [file.read(start, stop - start) for start, stop in runs]
        except OSError:
            self.forget(path)  # a stale handle of a network file system stays stale
            raise

    def forget(self, path: str) -> None:
        """Close one file."""
        self._open.pop(path, None)

    def forget_deleted(self) -> None:
        """Close the files that were deleted, whose space is free only then."""
        for path, file in list(self._open.items()):
            if os.fstat(file.descriptor).st_nlink == 0:
                self.forget(path)

    def close(self) -> None:
        """Close all files; they are opened again when they are next read."""
        self._open.clear()

    def _file(self, path: str) -> _OpenFile:
        # Without a lock, which a fork could copy while it is held. Single steps on a dict are atomic, unlike an
        # OrderedDict's; two threads that want the same file at the same time may both open it.
        file = self._open.pop(path, None) or _OpenFile(path)
        self._open[path] = file
        while len(self._open) > OPEN_FILES:
            with suppress(RuntimeError, StopIteration):  # another thread was at it meanwhile
                self._open.pop(next(iter(self._open)), None)
        return file


class LocalReader:
    """A local file for walking its headers (a ByteReader)."""

    def __init__(self, path: str, retries: Retries, shard: str = "") -> None:
        """Raises ShardReadError, naming `shard` instead of the path if given."""
        self._path = path
        self._shard = shard or path
        self._retries = retries
        stamp = retries.run(self._shard, lambda: stamp_of_file(path))
        self.size: int | None = stamp.size
        self._file = retries.run(self._shard, lambda: _OpenFile(path))

    def read_at(self, offset: int, count: int) -> bytes:
        """Bytes [offset, offset + count), fewer at the end. Raises ShardReadError."""
        try:  # mostly headers of 512 bytes: the case without errors has to be quick
            return self._file.read(offset, count)
        except OSError:
            pass
        return self._retries.run(self._shard, lambda: self._read_anew(offset, count))

    def _read_anew(self, offset: int, count: int) -> bytes:
        self._file = _OpenFile(self._path)
        return self._file.read(offset, count)
