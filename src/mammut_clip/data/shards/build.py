"""Finding out what shards hold: in parallel, stored as it goes, and continued by the next call if it is stopped."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import NamedTuple

from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.byte_ranges import Stamp
from mammut_clip.data.shards.counts import noted_counts
from mammut_clip.data.shards.index_files import Depth, Entry, Located
from mammut_clip.data.shards.index_places import split_url
from mammut_clip.data.shards.index_writer import IndexWriter
from mammut_clip.data.shards.parallel import each_done
from mammut_clip.data.shards.rows import Rows, walk_rows
from mammut_clip.data.shards.sources import scheme_of
from mammut_clip.data.shards.stamps import stamps_of
from mammut_clip.data.shards.storage import ShardStorage
from mammut_clip.data.shards.stored_index import StoredIndex

FLUSH_SECONDS = 20.0
_FLUSH_BYTES = 256 * 2**20
_FEW = 32
"""Local shards that are walked in less time than processes take to start."""
Progress = Callable[[int, int], None]


def known_shards(
    urls: Sequence[str],
    storage: ShardStorage,
    *,
    folder: str | None = None,
    enough: Depth = Depth.COUNTED,
    wanted: Depth = Depth.WALKED,
    workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Located]:
    """What is stored of each shard, which is made to be at least `enough` as `wanted`.

    Args:
        folder: where index files are kept; None as in index_places.py.
        progress: called with (done, total) of those that were not known enough.

    Raises InputError naming the shard that is missing, no tar, or changes meanwhile.
    """
    stamps = stamps_of(urls, storage)
    stored = StoredIndex(urls, folder)
    found = {url: stored.matching(url, stamps[url]) for url in urls}
    missing = [url for url, known in found.items() if known is None or known.entry.depth < enough]
    if missing:
        writer = IndexWriter(missing, folder)
        # What is found now is later than what is stored, even if the clock of whoever found that was ahead.
        before = [known.entry.found_at for url in missing if (known := stored.newest(url)) is not None]
        earliest = math.nextafter(max(before, default=0.0), math.inf)
        if wanted == Depth.COUNTED:
            _count(missing, stamps, earliest, storage, writer)
        else:
            _walk(missing, stamps, earliest, storage, writer, wanted, workers, progress)
        writer.merge()
        stored = StoredIndex(urls, folder)
        found = {url: stored.matching(url, stamps[url]) for url in urls}
    lost = [url for url, known in found.items() if known is None]
    if lost:
        raise InputError(f"{lost[0]}: changed while its samples were counted; expected shards that stay as they are")
    return {url: known for url, known in found.items() if known is not None}


def _count(
    urls: list[str], stamps: dict[str, Stamp], earliest: float, storage: ShardStorage, writer: IndexWriter
) -> None:
    for url, count in noted_counts(urls, storage).items():
        found_at = max(time.time(), earliest)
        writer.add(url, Entry(split_url(url)[1], *stamps[url], count, found_at, walked=False), None)
    writer.flush()


class _Found(NamedTuple):
    url: str
    rows: Rows
    problem: str | None
    sha256: str | None


def _walk(
    urls: list[str],
    stamps: dict[str, Stamp],
    earliest: float,
    storage: ShardStorage,
    writer: IndexWriter,
    wanted: Depth,
    workers: int,
    progress: Progress | None,
) -> None:
    if wanted < Depth.CHECKSUMMED and len(urls) <= _FEW and not any(scheme_of(url) for url in urls):
        workers = 1
    flushed = time.monotonic()
    work = partial(_look_into, storage, wanted == Depth.CHECKSUMMED)
    try:
        with closing(each_done(work, urls, workers)) as results:
            for done, found in enumerate(results, start=1):
                name = split_url(found.url)[1]
                known = Entry(name, *stamps[found.url], len(found.rows), max(time.time(), earliest))
                writer.add(found.url, known._replace(sha256=found.sha256, problem=found.problem), found.rows)
                if progress is not None:
                    progress(done, len(urls))
                if time.monotonic() - flushed >= FLUSH_SECONDS or writer.waiting >= _FLUSH_BYTES:
                    writer.flush()
                    flushed = time.monotonic()
    finally:
        writer.flush()  # also after Ctrl-C, or when a later shard is no tar


def _look_into(storage: ShardStorage, checksum: bool, url: str) -> _Found:
    """Walk one shard. Raises InputError naming it where it cannot be read or is no tar."""
    if not checksum:
        with storage.open(url) as reader:
            return _Found(url, *walk_rows(reader, url), None)
    with storage.local(url) as path:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with storage.open(str(path)) as reader:
            return _Found(url, *walk_rows(reader, url), digest)
