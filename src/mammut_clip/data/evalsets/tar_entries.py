"""Samples of tars: which bytes of which tar belong to each, and reading them by number."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mammut_clip.config.errors import InputError
from mammut_clip.data.shards import tar
from mammut_clip.data.shards.byte_ranges import Range
from mammut_clip.data.shards.rows import IMAGE_EXTENSIONS
from mammut_clip.data.shards.storage import ShardStorage

_WALKERS = 8
"""Tars that are walked at a time. On network file systems, what takes long is to wait for one header after another."""


class Entry(NamedTuple):
    """Where one sample is."""

    shard: int
    key: str
    image: Range
    target: Range
    extra: Range | None
    """The further member that was asked for."""


class Members(NamedTuple):
    """The bytes of one sample."""

    image: bytes
    target: bytes
    extra: bytes | None


class TarEntries:
    """The samples of some tars in order. Reads from several threads; tars that were read stay open."""

    def __init__(self, shards: Sequence[Path], target: str, extra: str | None = None) -> None:
        """Walk all headers (50,000 samples in half a second, once the tars are in memory).

        `target` and `extra` are the extensions of the members that each sample has beside its picture. Raises
        InputError naming tar and key of a sample without one of them or with two pictures, and of a key that stands
        twice in a tar, and naming a tar that cannot be walked.
        """
        self._shards = [str(shard) for shard in shards]
        self._storage = ShardStorage()
        walk = partial(_walked, target=target, extra=extra)
        with ThreadPoolExecutor(min(_WALKERS, len(shards)), thread_name_prefix="walk") as pool:
            self._entries = [entry for entries in pool.map(walk, range(len(shards)), shards) for entry in entries]

    def __len__(self) -> int:
        return len(self._entries)

    def key(self, number: int) -> str:
        """The key of a sample."""
        return self._entries[number].key

    def where(self, number: int) -> str:
        """Tar and key of a sample."""
        entry = self._entries[number]
        return f"{self._shards[entry.shard]}: sample {entry.key!r}"

    def read(self, number: int) -> Members:
        """The members of a sample. Raises InputError naming the tar that cannot be read any more."""
        _, _, image, target, extra = self._entries[number]
        image_bytes, target_bytes, *rest = self._read(number, [image, target, *([extra] if extra else [])])
        return Members(image_bytes, target_bytes, rest[0] if rest else None)

    def read_target(self, number: int) -> bytes:
        """What stands beside the picture of a sample, alone."""
        return self._read(number, [self._entries[number].target])[0]

    def read_extra(self, number: int) -> bytes:
        """The further member of a sample alone."""
        extra = self._entries[number].extra
        assert extra is not None
        return self._read(number, [extra])[0]

    def _read(self, number: int, ranges: list[Range]) -> list[bytes]:
        found = self._storage.read(self._shards[self._entries[number].shard], ranges)
        if any(len(data) < stop - start for data, (start, stop) in zip(found, ranges, strict=True)):
            raise InputError(f"{self.where(number)}: the tar became shorter since it was opened")
        return found


def _walked(number: int, shard: Path, target: str, extra: str | None) -> list[Entry]:
    return list(_entries(number, shard, target, extra))


def _entries(number: int, shard: Path, target: str, extra: str | None) -> Iterator[Entry]:
    wanted = [target, *([extra] if extra is not None else [])]
    seen: set[str] = set()
    for sample in tar.samples_of_file(shard):
        if sample.key in seen:
            raise InputError(f"{shard}: key {sample.key!r} stands twice; expected the files of a sample side by side")
        seen.add(sample.key)
        pictures = [extension for extension in IMAGE_EXTENSIONS if extension in sample.members]
        missing = [extension for extension in wanted if extension not in sample.members]
        if len(pictures) != 1 or missing:
            raise InputError(f"{shard}: sample {sample.key!r} {_complaint(pictures, missing, list(sample.members))}")
        at = [_range(sample.members[extension]) for extension in (pictures[0], *wanted)]
        yield Entry(number, sample.key, at[0], at[1], at[2] if extra is not None else None)


def _complaint(pictures: list[str], missing: list[str], there: list[str]) -> str:
    if len(pictures) > 1:
        return f"has {len(pictures)} pictures, .{' and .'.join(pictures)}; expected one"
    gone = f".{missing[0]}" if pictures else f"picture (.{', .'.join(IMAGE_EXTENSIONS)})"
    return f"has no {gone}; it has .{', .'.join(there)}"


def _range(member: tar.Member) -> Range:
    return member.offset, member.offset + member.size
