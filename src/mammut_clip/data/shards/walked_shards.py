"""Shards of which only the count is stored: walked when they are first used, and remembered for a while."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from mammut_clip.config.errors import InputError
from mammut_clip.data.shards import tar
from mammut_clip.data.shards.rows import Rows, walk_rows
from mammut_clip.data.shards.storage import ShardStorage

_ROW_BYTES = 64 * 2**20
"""Two hundred shards of 10,000 samples: those that a worker reads at the same time, by their lanes."""
_KEYED_SAMPLES = 100_000
_log = logging.getLogger(__name__)
T = TypeVar("T")


class _Recent(Generic[T]):
    """The most recently used values, as many as have `limit` in all, and at least the last one."""

    def __init__(self, make: Callable[[str], T], size: Callable[[T], int], limit: int) -> None:
        self._make, self._size, self._limit = make, size, limit
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, url: str) -> T:
        # Without a lock, which a fork could copy while it is held: each step on the table is atomic.
        value = self._values.get(url)
        if value is None:
            value = self._make(url)
            self._values[url] = value
            while len(self._values) > 1 and sum(map(self._size, list(self._values.values()))) > self._limit:
                self._values.popitem(last=False)
        else:
            with suppress(KeyError):  # another thread dropped it since
                self._values.move_to_end(url)
        return value


class WalkedShards:
    """Rows and keys of shards. A copy in another process starts without any."""

    def __init__(self, storage: ShardStorage) -> None:
        self._storage = storage
        self._rows: _Recent[Rows] = _Recent(self._walk, lambda rows: rows.nbytes, _ROW_BYTES)
        self._keys: _Recent[list[str]] = _Recent(self._list_keys, len, _KEYED_SAMPLES)

    def __reduce__(self) -> tuple[object, ...]:
        return WalkedShards, (self._storage,)

    def rows(self, url: str) -> Rows:
        """One row per sample. Raises InputError where the shard cannot be read or is no tar."""
        return self._rows.get(url)

    def keys(self, url: str) -> list[str]:
        """The keys of the samples, as many as can be read."""
        return self._keys.get(url)

    def _walk(self, url: str) -> Rows:
        with self._storage.open(url) as reader:
            rows, problem = walk_rows(reader, url)
        if problem is not None:
            _log.warning("%s: %s", url, problem)
        return rows

    def _list_keys(self, url: str) -> list[str]:
        keys: list[str] = []
        with suppress(InputError), self._storage.open(url) as reader:
            for sample in tar.samples(reader, url):
                keys.append(sample.key)  # noqa: PERF401 (those before an error count)
        return keys
