"""Where every training sample's bytes are: the data sets, their shards and counts, and offsets of all members.

    sources -> expand_sources -> stamps -> what is stored of them (stored_index.py) -> the rest is walked (build.py)

Walking the headers of a shard takes a fraction of a second, but there are thousands: what was found is stored
(index_files.py), and used again while a shard's size and version stay as they were. Nothing of a sample is in memory:
rows are mapped.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mammut_clip.config.data import DatasetConfig
from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.build import Progress, known_shards
from mammut_clip.data.shards.byte_ranges import Stamp
from mammut_clip.data.shards.index_files import Entry, Located, RowsFile
from mammut_clip.data.shards.rows import Rows
from mammut_clip.data.shards.sources import expand_sources
from mammut_clip.data.shards.storage import ShardStorage
from mammut_clip.data.shards.stored_index import StoredIndex
from mammut_clip.data.shards.walked_shards import WalkedShards

_SHOWN = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar of the training data."""

    url: str
    """Absolute path, URL or `pipe:` command."""
    count: int
    """Samples: those that can be read, or as many as whoever wrote it noted."""
    size: int | None
    """Bytes of the tar; None where that is not known, as for a pipe."""
    version: str
    sha256: str | None = None
    problem: str | None = None
    """Why samples are missing, such as a tar that ends too soon."""

    @classmethod
    def of(cls, url: str, entry: Entry) -> "Shard":
        """The shard that an entry of a stored index is about."""
        return cls(url, entry.samples, entry.size, entry.version, entry.sha256, entry.problem)


class IndexedDataset(NamedTuple):
    """One data set of a mixture: the shards first..stop-1 of the index."""

    name: str
    weight: float
    first: int
    stop: int


def summary_of(shards: Iterable[Shard]) -> dict[str, Any]:
    """Number of shards and samples, bytes of the tars as far as known, and, only if there are any, problems by shard.
    What several data sets share counts once."""
    different = dict.fromkeys(shards)
    problems = [{"shard": shard.url, "problem": shard.problem} for shard in different if shard.problem is not None]
    counted: dict[str, Any] = {
        "shards": len(different),
        "samples": sum(shard.count for shard in different),
        "bytes": sum(shard.size or 0 for shard in different),
    }
    return counted | ({"problems": problems} if problems else {})


class ShardIndex:
    """All samples of some data sets, by shard number and sample number. A pickled copy maps the index files again."""

    def __init__(
        self,
        datasets: list[IndexedDataset],
        urls: list[str],
        found: list[Located],
        storage: ShardStorage,
        folder: str | None,
    ) -> None:
        """Made by `open`; `found` has an entry per URL."""
        self.datasets = datasets
        self.shards = [Shard.of(url, located.entry) for url, located in zip(urls, found, strict=True)]
        self.counts: npt.NDArray[np.int64] = np.array([shard.count for shard in self.shards], dtype=np.int64)
        self.storage = storage
        self._folder = folder
        self._walked = WalkedShards(storage)
        self._mapped = _Mapped.of(found)

    @classmethod
    def open(
        cls,
        datasets: list[DatasetConfig],
        storage: ShardStorage,
        *,
        folder: str | None = None,
        progress: Progress | None = None,
        workers: int = 1,
    ) -> "ShardIndex":
        """The index of some data sets; `workers` processes walk those shards of which nothing is stored.

        `folder` is where index files are kept (None: beside the shards, or in the user's cache folder);
        `progress(done, total)` is called after each shard that had to be walked. Shards with problems, such as tars
        that end too soon, are warned of and keep their whole samples. Raises InputError naming the source or shard that
        is missing or no tar, and the data set without any sample.
        """
        expanded = [expand_sources(dataset.sources) for dataset in datasets]
        urls = [url for shards in expanded for url in shards]
        known = known_shards(list(dict.fromkeys(urls)), storage, folder=folder, workers=workers, progress=progress)
        stops = np.cumsum([len(shards) for shards in expanded]).tolist()
        indexed = [
            IndexedDataset(dataset.name, dataset.weight, stop - len(shards), stop)
            for dataset, shards, stop in zip(datasets, expanded, stops, strict=True)
        ]
        index = cls(indexed, urls, [known[url] for url in urls], storage, folder)
        index._report_problems()
        return index

    @classmethod
    def of_sources(cls, sources: list[str], progress: Progress | None = None) -> "ShardIndex":
        """The index of one data set, as `open` with the defaults."""
        return cls.open([DatasetConfig(name="train", sources=sources)], ShardStorage(), progress=progress)

    def reading_through(self, storage: ShardStorage) -> "ShardIndex":
        """The same index in another process, which has files and copies of its own."""
        other = copy(self)
        other.storage, other._walked = storage, WalkedShards(storage)
        return other

    def __len__(self) -> int:
        return int(self.counts.sum())

    @property
    def digest(self) -> str:
        """SHA-256 of what decides which sample stands at a position: the samples of each shard of each data set."""
        sha256 = hashlib.sha256()
        for dataset in self.datasets:
            sha256.update(np.array([dataset.stop - dataset.first], dtype="<i8").tobytes())
            sha256.update(self.counts[dataset.first : dataset.stop].astype("<i8").tobytes())
        return sha256.hexdigest()

    def url(self, shard: int) -> str:
        """Absolute path, URL or `pipe:` command of a shard."""
        return self.shards[shard].url

    def dataset_of(self, shard: int) -> str:
        """The name of the data set that a shard belongs to."""
        return next(dataset.name for dataset in self.datasets if dataset.first <= shard < dataset.stop)

    def rows(self, shard: int) -> Rows:
        """One row of rows.ROW per sample, mapped.

        A shard of which only the count is stored is walked when it is first used; it may have fewer or more rows than
        its count. Raises InputError where that shard cannot be read.
        """
        files, file_of, first = self._mapped
        if file_of[shard] < 0:
            return self._walked.rows(self.url(shard))
        rows = files[file_of[shard]].rows()
        if rows is None:
            self._locate_again()
            return self.rows(shard)
        return rows[first[shard] : first[shard] + self.shards[shard].count]

    def key(self, shard: int, sample: int) -> str:
        """The key of a sample, for messages: walks the shard, since keys are not stored; `number 7` if it has none."""
        keys = self._walked.keys(self.url(shard))
        return keys[sample] if sample < len(keys) else f"number {sample}"

    def summary(self) -> dict[str, Any]:
        """See `summary_of`."""
        return summary_of(self.shards)

    def _locate_again(self) -> None:
        """Another process merged the index files into others: find there what was found before."""
        stored = StoredIndex([shard.url for shard in self.shards], self._folder)
        found = [stored.matching(shard.url, Stamp(shard.size, shard.version)) for shard in self.shards]
        same = [f if f and f.entry.samples == s.count else None for f, s in zip(found, self.shards, strict=True)]
        self._mapped = _Mapped.of(same)

    def _report_problems(self) -> None:
        """Warn of damaged shards. Raises InputError for a data set without any sample."""
        damaged = [f"{shard.url}: {shard.problem}" for shard in self.shards if shard.problem is not None]
        if damaged:
            more = [f"and {len(damaged) - _SHOWN} more"] if len(damaged) > _SHOWN else []
            shown = "\n  ".join([*damaged[:_SHOWN], *more])
            _log.warning("%d of %d shards have problems:\n  %s", len(damaged), len(self.shards), shown)
        for dataset in self.datasets:
            if not self.counts[dataset.first : dataset.stop].any():
                first = self.shards[dataset.first]
                raise InputError(
                    f"the data set {dataset.name!r} has no samples in its {dataset.stop - dataset.first} shards; the "
                    f"first, {first.url}: {first.problem or 'counted as empty'}"
                )


class _Mapped(NamedTuple):
    """Where the rows of each shard are."""

    files: list[RowsFile]
    file_of: npt.NDArray[np.int32]
    """Of each shard, a number in `files`; -1: its rows are not stored."""
    first: npt.NDArray[np.int64]
    """The number of its first row in the file."""

    @classmethod
    def of(cls, found: Sequence[Located | None]) -> "_Mapped":
        walked = [located if located is not None and located.entry.walked else None for located in found]
        files = {id(located.file): located.file for located in walked if located is not None}
        numbers = {identity: number for number, identity in enumerate(files)}
        file_of = [-1 if located is None else numbers[id(located.file)] for located in walked]
        first = [0 if located is None else located.start for located in walked]
        return cls(list(files.values()), np.array(file_of, dtype=np.int32), np.array(first, dtype=np.int64))
