"""The bytes of shards, wherever they are: on disks, web servers, in object stores, or out of pipes.

Local files are read in place. Remote shards are read by ranges or, with a cache, as local copies; what comes out of
pipes always becomes a copy, in the cache or in a temporary folder. A `ShardStorage` can be pickled, forked, and used by
several threads.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mammut_clip.config.data import CacheConfig, ReadingConfig
from mammut_clip.data.shards import pipes, remote_files
from mammut_clip.data.shards.byte_ranges import ByteReader, Range, Runs, Stamp
from mammut_clip.data.shards.cache import ShardCache
from mammut_clip.data.shards.local_files import LocalFiles, LocalReader, stamp_of_file
from mammut_clip.data.shards.retries import MissingShardError, Retries, ShardReadError
from mammut_clip.data.shards.sources import PIPE, scheme_of

__all__ = ["ByteReader", "MissingShardError", "ShardReadError", "ShardStorage", "Stamp"]

_READING = ReadingConfig()


class ShardStorage:
    """Reads the shards that `sources.expand_sources` names. Errors that may pass are retried."""

    def __init__(
        self,
        reading: ReadingConfig = _READING,
        cache: CacheConfig | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`sleep` pauses between tries. Raises InputError where the cache's folder names an unset variable."""
        self._retries = Retries(reading.retries, sleep)
        self._cache = ShardCache.of(cache) if cache is not None else None
        # Known before workers are forked, so that they share it and this process removes it.
        self._pipes = self._cache or ShardCache(pipes.temporary_folder(), CacheConfig.model_fields["size"].default)
        self._files = LocalFiles()
        self._stamps: dict[str, Stamp] = {}

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_files": LocalFiles(), "_stamps": {}}

    def stamp(self, url: str) -> Stamp:
        """By what a shard is recognised: size and version. Asks the server each time; runs no pipe.

        Raises MissingShardError where it is not there, ShardReadError where that cannot be found out.
        """
        match scheme_of(url):
            case "":
                return self._retries.run(url, lambda: stamp_of_file(url))
            case "pipe":
                return Stamp(None, "")
            case _:
                return remote_files.stamp_of_url(url, self._retries)

    def read(self, url: str, ranges: Sequence[Range]) -> list[bytes]:
        """Bytes [start, stop) of each range, in the order given; shorter where the file ends before.

        Raises MissingShardError where the shard is not there, ShardReadError naming the shard where reading keeps
        failing.
        """
        runs = Runs(ranges)
        if not runs.runs:
            return runs.cut([])
        copies = self._copies(url)
        if copies is not None:
            return runs.cut(self._read_copy(copies, url, runs.runs))
        if scheme_of(url):
            return runs.cut(remote_files.read_url(url, runs.runs, self._retries))
        return runs.cut(self._retries.run(url, lambda: self._files.read(url, runs.runs)))

    @contextmanager
    def local(self, url: str) -> Iterator[Path]:
        """The whole shard as a local file while the block lasts: itself, a cached copy, or one that goes afterwards.

        Raises as `read`.
        """
        copies = self._copies(url)
        if copies is not None:
            with self._held(copies, url) as copy:
                yield copy
        elif scheme_of(url):
            with tempfile.TemporaryDirectory(prefix="mammut-clip-") as folder:
                path = Path(folder) / "shard.tar"
                remote_files.download(url, self.stamp(url).size, self._retries, path, lambda _: None)
                yield path
        else:
            self.stamp(url)
            yield Path(url)

    @contextmanager
    def open(self, url: str) -> Iterator[ByteReader]:
        """The shard for walking its headers. Raises as `read`, now and while it is read."""
        if scheme_of(url) and self._copies(url) is None:
            yield remote_files.BlockReader(url, self.stamp(url).size, self._retries)
        else:
            with self.local(url) as path:
                yield LocalReader(str(path), self._retries, url)

    def forget_open_files(self) -> None:
        """Close the files that were read; they are opened again when they are next read."""
        self._files.close()

    def _copies(self, url: str) -> ShardCache | None:
        """Where copies of this shard are; None where it is read in place."""
        scheme = scheme_of(url)
        return self._pipes if scheme == PIPE else self._cache if scheme else None

    def _read_copy(self, copies: ShardCache, url: str, runs: list[Range]) -> list[bytes]:
        copy = copies.path(url, self._known_stamp(url).version)
        path = str(copy)
        if not copies.touch(copy):
            self._files.forget(path)
        try:
            return self._files.read(path, runs)
        except OSError:  # mostly because it is not there (any more)
            self._files.forget_deleted()
        with self._held(copies, url) as held:  # of the version that is known by now
            return self._retries.run(url, lambda: self._files.read(str(held), runs))

    @contextmanager
    def _held(self, copies: ShardCache, url: str) -> Iterator[Path]:
        stamp = self._known_stamp(url)
        copy = copies.path(url, stamp.version)
        if scheme_of(url) == PIPE:
            fill = partial(pipes.spool, url, self._retries)
        else:
            fill = partial(remote_files.download, url, stamp.size, self._retries)
        try:
            with copies.held(copy, url, stamp.size, fill):
                yield copy
        except ShardReadError:
            self._stamps.pop(url, None)  # it may have been replaced by another version
            raise

    def _known_stamp(self, url: str) -> Stamp:
        """The stamp as it was when this process first asked."""
        if url not in self._stamps:
            self._stamps[url] = self.stamp(url)
        return self._stamps[url]
