"""The bytes of samples, by shard and number."""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mammut_clip.data.bad_samples import Bad, BadSampleError
from mammut_clip.data.shards.index import ShardIndex
from mammut_clip.data.shards.rows import MISSING
from mammut_clip.data.shards.storage import ShardStorage

_NEAR = 8192
"""Bytes between members of a sample (headers, other members) that are read rather than skipped."""


class Place(NamedTuple):
    """Which sample."""

    shard: int
    sample: int


class RawSample(NamedTuple):
    """The members of one sample that are wanted; None where it has none."""

    image: bytes | None
    text: bytes | None
    record: bytes | None
    problem: BadSampleError | None = None
    """Why there is nothing to be had: missing or truncated."""


class _Wanted(NamedTuple):
    """The members of one sample as (start, stop) in its shard, None for those that are not there or not wanted."""

    members: tuple[tuple[int, int] | None, ...]

    def ranges(self) -> list[tuple[int, int]]:
        """What to read: all at once where the members stand close together, which is nearly always."""
        present = sorted(member for member in self.members if member is not None)
        if not present:
            return []
        whole = (present[0][0], max(stop for _, stop in present))
        gaps = whole[1] - whole[0] - sum(stop - start for start, stop in present)
        return [whole] if gaps <= _NEAR else present

    def cut(self, ranges: list[tuple[int, int]], data: list[bytes]) -> RawSample:
        """The members out of the bytes of `ranges()`."""
        parts = [None if member is None else _part(member, ranges, data) for member in self.members]
        if any(part is not None and len(part) < m[1] - m[0] for part, m in zip(parts, self.members, strict=True) if m):
            end = max(start + len(d) for (start, _), d in zip(ranges, data, strict=True))
            problem = BadSampleError(Bad.TRUNCATED, f"the shard ends at byte {end}, inside this sample")
            return RawSample(None, None, None, problem)
        image, text, record = parts
        return RawSample(image, text, record)


def _part(member: tuple[int, int], ranges: list[tuple[int, int]], data: list[bytes]) -> bytes:
    start, stop = member
    for (begin, end), chunk in zip(ranges, data, strict=True):
        if begin <= start and stop <= end:
            return chunk[start - begin : stop - begin]
    raise AssertionError("every member lies in a range")


class SampleReader:
    """Reads samples; several threads may at the same time."""

    def __init__(self, index: ShardIndex, storage: ShardStorage, *, text: bool, record: bool) -> None:
        """`text`, `record`: whether the .txt and the .json members are wanted."""
        self._index, self._storage = index, storage
        self._text, self._record = text, record
        self._lock = threading.Lock()  # the index walks a shard at first use where it knows the count only

    def read(self, places: Sequence[Place], turn_to: Callable[[str], None] = lambda _: None) -> list[RawSample]:
        """The samples in the order given, read shard by shard; `turn_to` is told each shard before it is read.

        Raises InputError naming the shard that cannot be read.
        """
        found: list[RawSample | None] = [None] * len(places)
        by_shard: dict[int, list[int]] = {}
        for number, place in enumerate(places):
            by_shard.setdefault(place.shard, []).append(number)
        for shard, numbers in by_shard.items():
            turn_to(self._index.url(shard))
            raw = self._read_shard(shard, [places[number].sample for number in numbers])
            for number, sample in zip(numbers, raw, strict=True):
                found[number] = sample
        return [sample for sample in found if sample is not None]

    def _read_shard(self, shard: int, samples: list[int]) -> list[RawSample]:
        wanted = self._wanted(shard, samples)
        ranges = [[] if want is None else want.ranges() for want in wanted]
        flat = [part for parts in ranges for part in parts]
        data = iter(self._storage.read(self._index.url(shard), flat) if flat else [])
        raw = []
        for want, parts in zip(wanted, ranges, strict=True):
            if want is None:
                reason = f"the shard holds fewer samples than the {self._index.counts[shard]} it is counted with"
                raw.append(RawSample(None, None, None, BadSampleError(Bad.MISSING, reason)))
            else:
                raw.append(want.cut(parts, [next(data) for _ in parts]))
        return raw

    def _wanted(self, shard: int, samples: list[int]) -> list[_Wanted | None]:
        """None for samples that the shard does not have."""
        with self._lock:
            rows = self._index.rows(shard)
        wanted: list[_Wanted | None] = []
        for sample in samples:
            if sample >= len(rows):
                wanted.append(None)
                continue
            image_at, image_size, text_far, text_size, record_far, record_size = rows[sample].item()
            text_at, record_at = image_at + text_far, image_at + record_far
            wanted.append(
                _Wanted(
                    (
                        None if image_size == MISSING else (image_at, image_at + image_size),
                        None if text_size == MISSING or not self._text else (text_at, text_at + text_size),
                        None if record_size == MISSING or not self._record else (record_at, record_at + record_size),
                    )
                )
            )
        return wanted
