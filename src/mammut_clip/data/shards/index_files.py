"""Index files: what was found in shards that share a folder, stored so that it need not be found again.

A file is one line of JSON about the shards, then a row of rows.ROW per sample, which is mapped, not loaded. There
is a main file, and beside it parts, `<main>.<random>.part`, of builders at work or stopped. All of them appear whole
and never change, and one goes only after another that holds the same has appeared: any number of processes may
read, write and merge them at the same time without a lock.
"""

import json
import logging
import os
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from enum import IntEnum
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mammut_clip.config.atomic import atomic_file
from mammut_clip.data.shards.byte_ranges import Stamp
from mammut_clip.data.shards.rows import ROW, Rows

FORMAT = 2
_TRIES = 1000
_log = logging.getLogger(__name__)


class Depth(IntEnum):
    """How much is known of a shard; each includes those before it."""

    COUNTED = 0
    """How many samples it holds, as those say who wrote it."""
    WALKED = 1
    """Where each sample is."""
    CHECKSUMMED = 2
    """The sha256 of the tar."""


class Entry(NamedTuple):
    """What is known of one shard."""

    name: str
    """In its folder; of a pipe, the command."""
    size: int | None
    version: str
    """Size and version are the shard's stamp when it was walked: with another one, this is out of date."""
    samples: int
    found_at: float
    """When, in seconds since 1970."""
    walked: bool = True
    """Whether there is a row per sample."""
    sha256: str | None = None
    """Of the whole tar, if it was asked for."""
    problem: str | None = None
    """Why samples are missing."""

    @property
    def depth(self) -> Depth:
        """How much this is."""
        if not self.walked:
            return Depth.COUNTED
        return Depth.WALKED if self.sha256 is None else Depth.CHECKSUMMED

    @property
    def stamp(self) -> Stamp:
        """Of the shard, when it was walked."""
        return Stamp(self.size, self.version)


class RowsFile:
    """The rows of all shards in one index file. A copy in another process maps the file again."""

    def __init__(self, path: Path, mark: bytes, offset: int, rows: Rows) -> None:
        self.path = path
        self._mark = mark
        self._offset = offset
        self._count = len(rows)
        self._rows: Rows | None = rows

    def rows(self) -> Rows | None:
        """One row per sample; None where the file was merged into another one since."""
        if self._rows is None:
            with suppress(OSError), self.path.open("rb") as file:
                if file.read(len(self._mark)) == self._mark:
                    self._rows = _mapped(file, self._offset, self._count)
        return self._rows

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_rows": None}


class Located(NamedTuple):
    """An entry and where its rows are."""

    entry: Entry
    file: RowsFile
    start: int
    """The number of its first row in the file."""

    def rows(self) -> Rows | None:
        """One row per sample; None where there are none, or no longer in this file."""
        rows = self.file.rows() if self.entry.walked else None
        return None if rows is None else rows[self.start : self.start + self.entry.samples]


class IndexFile(NamedTuple):
    """One index file that was read."""

    path: Path
    shards: dict[str, Located]
    """By the shards' names."""
    mode: int
    """Its permissions."""


class DamagedIndexError(ValueError):
    """What is in an index file cannot be used."""


def read_index(path: Path) -> IndexFile:
    """One index file. Raises DamagedIndexError, and OSError where it cannot be opened."""
    with path.open("rb") as file:
        head = file.readline() if file.peek(1)[:1] == b"{" else b""
        entries = _entries(head)
        total = sum(entry.samples for entry in entries if entry.walked)
        state = os.fstat(file.fileno())
        if state.st_size != len(head) + total * ROW.itemsize:
            raise DamagedIndexError("it has another length than it says")
        rows = RowsFile(path, head[:_MARK], len(head), _mapped(file, len(head), total))
    shards: dict[str, Located] = {}
    start = 0
    for entry in entries:
        shards[entry.name] = Located(entry, rows, start)
        start += entry.samples if entry.walked else 0
    return IndexFile(path, shards, state.st_mode & 0o777)


def write_index(path: Path, contents: Sequence[tuple[Entry, Rows | None]], mode: int = 0) -> None:
    """A file of these entries; each that is walked comes with a row per sample. `mode`: permissions that it has
    whatever the umask.

    Raises DiskFullError, and InputError where the folder cannot be written.
    """
    # The id comes first: whoever maps the file again knows by it that it is the same one.
    head = {"format": FORMAT, "id": uuid.uuid4().hex, "shards": [_as_json(entry) for entry, _ in contents]}
    with atomic_file(path) as file:
        with suppress(OSError):  # a file system without permissions
            os.fchmod(file.fileno(), os.fstat(file.fileno()).st_mode & 0o777 | mode)
        file.write(json.dumps(head, separators=(",", ":")).encode() + b"\n")
        for _, rows in contents:
            if rows is not None:
                file.write(rows.view(np.uint8).data)


_MARK = len(json.dumps({"format": FORMAT, "id": uuid.uuid4().hex}, separators=(",", ":")))


def part_of(main: Path) -> Path:
    """A name for a new part."""
    return main.with_name(f"{main.name}.{uuid.uuid4().hex[:12]}.part")


def read_all(main: Path) -> list[IndexFile]:
    """The main file, if there is one, and all its parts; what is damaged is passed over with a warning."""
    for _ in range(_TRIES):
        before = _mark_of(main)
        found, complete = _read_each([main] if before is not None else [])
        names = _listed(main)
        parts, parts_complete = _read_each(_parts(main, names))
        # A large folder is not listed in one moment: a part may go before its turn, after that of the one that holds
        # the same. What was main once never is again. So the main file that was read was main when the names were
        # listed or, without one, none was listed: a merge may have put one there and another taken it away.
        same = _parts(main, _listed(main)) == _parts(main, names)
        same &= (main.name in names) == (before is not None) and _mark_of(main) == before
        if complete and parts_complete and same:
            break
    return found + parts


def merge(main: Path, gone: Callable[[Collection[str]], set[str]]) -> None:
    """Put the main file and all its parts into a new main file, but for shards that are `gone(names)`.

    Raises DiskFullError, and InputError where the folder cannot be written; nothing is lost then.
    """
    with suppress(OSError):
        main.rename(part_of(main))  # so that it is not overwritten by somebody else who merges, nor theirs by ours
    found, _ = _read_each(_parts(main, _listed(main)), remove_damaged=True)
    best: dict[str, Located] = {}
    for file in found:
        for name, located in file.shards.items():
            best[name] = preferred(best.get(name), located)
    kept = sorted(best.keys() - gone(best))
    merged = part_of(main)
    # Whoever may read one of them may read what takes its place, also where our umask is stricter than theirs.
    mode = reduce(or_, (file.mode for file in found), 0)
    write_index(merged, [(best[name].entry, best[name].rows()) for name in kept], mode)
    # Unlike a rename, a link leaves alone what somebody else put there meanwhile; then ours remains a part, as good.
    with suppress(OSError):
        os.link(merged, main)
        merged.unlink()
    for file in found:
        _remove(file.path)


def preferred(one: Located | None, other: Located) -> Located:
    """Which of two entries of a shard counts: the later or, of the same state of the shard, the one that says more."""
    if one is None:
        return other
    later = max(one, other, key=lambda located: located.entry.found_at)
    if one.entry.stamp != other.entry.stamp or one.entry.depth == other.entry.depth:
        return later
    deeper = max(one, other, key=lambda located: located.entry.depth)
    # That the shard is in this state was seen later, too: an entry in between, of another state, is out of date.
    return deeper._replace(entry=deeper.entry._replace(found_at=later.entry.found_at))


def _listed(main: Path) -> list[str]:
    """The names in its folder."""
    try:
        return sorted(path.name for path in main.parent.iterdir())
    except OSError:
        return [main.name] if _exists(main) else []


def _parts(main: Path, names: list[str]) -> list[Path]:
    return [main.with_name(n) for n in names if n.startswith(f"{main.name}.") and n.endswith(".part")]


def _read_each(paths: list[Path], remove_damaged: bool = False) -> tuple[list[IndexFile], bool]:
    """The files that can be read, and whether all are still there."""
    found = []
    complete = True
    for path in paths:
        try:
            found.append(read_index(path))
        except FileNotFoundError:
            complete = False
        except (OSError, DamagedIndexError) as error:
            _log.warning("%s is passed over: it cannot be read as an index (%s)", path, error)
            if remove_damaged and isinstance(error, DamagedIndexError):
                _remove(path)
    return found, complete


def _remove(path: Path) -> None:
    with suppress(OSError):  # another user's, say, who may also have been quicker
        path.unlink()


def _mark_of(path: Path) -> bytes | None:
    """What tells a file from all others; None: there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_MARK)
    except OSError:
        return b"" if _exists(path) else None  # another user's, say


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a folder that is closed to us
        return False


def _mapped(file: BinaryIO, offset: int, count: int) -> Rows:
    if not count:
        return np.empty(0, dtype=ROW)
    # A plain array that looks at the map: slices of memmap objects are slow.
    return np.memmap(file, dtype=ROW, mode="r", offset=offset, shape=(count,)).view(np.ndarray)


def _as_json(entry: Entry) -> dict[str, Any]:
    stored: dict[str, Any] = {
        "name": entry.name,
        "size": entry.size,
        "version": entry.version,
        "samples": entry.samples,
        "found_at": entry.found_at,
    }
    if not entry.walked:
        stored["walked"] = False
    if entry.sha256 is not None:
        stored["sha256"] = entry.sha256
    if entry.problem is not None:
        stored["problem"] = entry.problem
    return stored


def _entries(head: bytes) -> list[Entry]:
    try:
        stored = json.loads(head)
        if stored["format"] != FORMAT:
            raise DamagedIndexError(f"it has format {stored['format']!r}, expected {FORMAT}")
        return [_checked(Entry(**shard)) for shard in stored["shards"]]
    except DamagedIndexError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedIndexError("its first line is not the JSON of one") from error


def _checked(entry: Entry) -> Entry:
    texts = isinstance(entry.name, str) and isinstance(entry.version, str)
    numbers = all(isinstance(number, float | int) for number in (entry.size or 0, entry.samples, entry.found_at))
    if not texts or not numbers or entry.samples < 0:
        raise DamagedIndexError("an entry has values of other types")
    return entry
