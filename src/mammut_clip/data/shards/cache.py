"""Local copies of shards that come over the network or out of a pipe, shared by the processes of a machine.

One folder holds, per shard and version, `<digest>-<end of its name>` (the copy, complete), `<digest>.part` (the copy
while it comes) and `<digest>.lock`. Whoever needs a copy holds its lock shared, whoever makes or removes it does so
exclusively; the size of the lock file is the room that is set aside for a copy that comes. Locks are flock's: a process
that dies lets go of them.
"""

import errno
import fcntl
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from mammut_clip.config.atomic import disk_errors
from mammut_clip.config.data import CacheConfig
from mammut_clip.config.errors import InputError
from mammut_clip.config.quantity import format_bytes
from mammut_clip.data.shards.sources import PIPE, scheme_of

_log = logging.getLogger(__name__)

_TOUCH_SECONDS = 5.0
_STEP = 64 * 2**20
"""Room set aside at a time for a copy whose size is not known before."""
_NAME = re.compile(r"([0-9a-f]{32})(-.*|\.part|\.lock)")
_VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")


class Fill(Protocol):
    """Writes a whole shard to a file."""

    def __call__(self, path: Path, count: Callable[[int], None]) -> None:
        """Calls `count(bytes so far)` as the file grows, which may raise."""


def expand_folder(folder: str) -> Path:
    """`$NAME` and `~` replaced. Raises InputError naming a variable that is not set, or empty."""
    for match in _VARIABLE.finditer(folder):
        name = match[1].strip("{}")
        if not os.environ.get(name):
            raise InputError(f"data.cache.folder = {folder!r}: the environment variable {name} is not set")
    return Path(os.path.expandvars(folder)).expanduser().absolute()


class ShardCache:
    """Copies in one folder, of which the least recently used go when they take more than `limit` bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._touched: dict[str, float] = {}

    @classmethod
    def of(cls, config: CacheConfig) -> "ShardCache":
        """Raises InputError where the folder names an environment variable that is not set."""
        return cls(expand_folder(config.folder), config.size)

    def path(self, url: str, version: str) -> Path:
        """Where the copy of a shard is, if there is one."""
        digest = hashlib.sha256(f"{url}\0{version}".encode()).hexdigest()[:32]
        name = url if scheme_of(url) == PIPE else url.partition("?")[0].rpartition("/")[2]
        tail = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-60:]
        return self._folder / f"{digest}-{tail}"

    def touch(self, copy: Path) -> bool:
        """Note that a copy is in use, every few seconds. False where it was removed meanwhile."""
        now = time.monotonic()
        name = str(copy)
        if now - self._touched.get(name, float("-inf")) < _TOUCH_SECONDS:
            return True
        if len(self._touched) > 4096:
            self._touched.clear()
        self._touched[name] = now
        try:
            os.utime(copy)
        except FileNotFoundError:
            return False
        except OSError as error:  # another user's
            _log.debug("%s: %s", copy, error)
        return True

    @contextmanager
    def held(self, copy: Path, shard: str, size: int | None, fill: Fill) -> Iterator[None]:
        """The copy at `path(...)` is there, and is not removed before the block ends; made by `fill` if it was not.

        Several processes that want it wait for the one that makes it. Raises what `fill` raises, DiskFullError, and
        InputError where the shard is larger than the cache or the folder cannot be written.
        """
        lock = _beside(copy, ".lock")
        while True:
            with _folder_errors(copy):
                self._folder.mkdir(parents=True, exist_ok=True)
            with _locked(lock, fcntl.LOCK_SH):
                if copy.exists():
                    self.touch(copy)
                    yield
                    return
            with _locked(lock, fcntl.LOCK_EX) as descriptor:
                if not copy.exists() and descriptor is not None:
                    self._make(copy, shard, size, fill, descriptor)

    def _make(self, copy: Path, shard: str, size: int | None, fill: Fill, lock: int) -> None:
        part = _beside(copy, ".part")
        room = 0

        def reserve(needed: int) -> None:
            nonlocal room
            if needed > self._limit:
                known = format_bytes(needed) if size is not None else f"more than {format_bytes(self._limit)}"
                raise InputError(
                    f"{shard}: {known}, which does not fit in the cache of {format_bytes(self._limit)}; expected a "
                    "larger data.cache.size"
                )
            if needed > room:
                room = needed if size is not None else min(needed + _STEP, self._limit)
                self._make_room(room, lock)

        try:
            with _folder_errors(copy):
                reserve(size or 0)
                fill(part, reserve)
                with part.open("rb") as file:
                    os.fsync(file.fileno())  # or a power failure could leave a complete name for half a copy
                part.replace(copy)
        finally:
            part.unlink(missing_ok=True)
            os.ftruncate(lock, 0)

    def _make_room(self, needed: int, lock: int) -> None:
        """Remove the least recently used copies until `needed` bytes are free, and set them aside."""
        with _locked(self._folder / "room.lock", fcntl.LOCK_EX):
            # What is set aside already stays so meanwhile: if this process is killed here, its part is known by that.
            own = os.fstat(lock)
            # First what is set aside, then copies: what becomes one between the two looks is in one of them.
            taken = self._found(own, locks=True) | self._found(own, locks=False)
            sizes = sum(size for _, size, _ in taken.values())
            for _, size, path in sorted(taken.values()):
                if sizes + needed <= self._limit:
                    break
                if _remove(path):
                    sizes -= size
            if sizes + needed > self._limit:
                _log.warning(
                    "%s: the shards in use at the same time take %d bytes, more than data.cache.size = %s",
                    self._folder,
                    sizes + needed,
                    format_bytes(self._limit),
                )
            os.ftruncate(lock, needed)

    def _found(self, own: os.stat_result, *, locks: bool) -> dict[str, tuple[int, int, Path]]:
        """Digest -> (last use, bytes, path) of what takes room: locks or copies, but for one's own lock."""
        found = {}
        for entry in os.scandir(self._folder):
            match = _NAME.fullmatch(entry.name)
            if match is None or match[2] == ".part" or (match[2] == ".lock") != locks:
                continue
            with suppress(FileNotFoundError):
                state = entry.stat()
                if state.st_size and not os.path.samestat(state, own):
                    found[match[1]] = state.st_mtime_ns, state.st_size, Path(entry.path)
        return found


@contextmanager
def _folder_errors(path: Path) -> Iterator[None]:
    """Name the cache where it cannot be used; DiskFullError where there is no room."""
    with disk_errors(path):
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(
                f"data.cache.folder = {str(path.parent)!r}: {error.strerror or error}; expected a folder on a local "
                "disk that can be written"
            ) from error


def _beside(copy: Path, ending: str) -> Path:
    return copy.with_name(copy.name.partition("-")[0] + ending)


def _remove(path: Path) -> bool:
    """Remove a copy, or what a process that died left of one, given the copy or its lock; not what is in use."""
    digest = path.name[:32]
    lock = path.with_name(digest + ".lock")
    try:
        with _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB) as descriptor:
            if descriptor is None:
                return False
            if path != lock:
                path.unlink(missing_ok=True)
            path.with_name(digest + ".part").unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
            return True
    except (PermissionError, InputError):  # another user's
        return False


@contextmanager
def _locked(path: Path, how: int) -> Iterator[int | None]:
    """Hold a lock file, made if it is not there; yields its descriptor, or None where it is taken (LOCK_NB)."""
    descriptor = _lock(path, how)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            # Closing alone would leave it locked while a process forked meanwhile has the descriptor too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _lock(path: Path, how: int) -> int | None:
    with _folder_errors(path):
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, how)
                if os.path.samestat(path.stat(), os.fstat(descriptor)):
                    return descriptor
            except FileNotFoundError:  # whoever held it before removed it with the copy
                pass
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
