"""Checking shards against what is stored of them; nothing is written.

Each shard is walked anew: does it have the stored size, version, rows (or count) and checksum? On demand, every picture
and caption in it is decoded, too.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mammut_clip.config.errors import InputError
from mammut_clip.data.shards.byte_ranges import Stamp
from mammut_clip.data.shards.index_files import Entry, Located
from mammut_clip.data.shards.parallel import each_done
from mammut_clip.data.shards.rows import Rows, walk_rows
from mammut_clip.data.shards.sources import expand_sources
from mammut_clip.data.shards.stamps import stamps_in_folder
from mammut_clip.data.shards.storage import ShardStorage
from mammut_clip.data.shards.stored_index import StoredIndex

if TYPE_CHECKING:  # it loads torch
    from mammut_clip.data.shards.check_samples import BadMember

_LISTED = 100
"""Bad samples of one shard that are named; all are counted."""
Progress = Callable[[int, int], None]


@dataclass
class ShardCheck:
    """What was found in one shard."""

    url: str
    samples: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    bad: "list[BadMember]" = field(default_factory=list)
    """The first of its bad samples."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Kind -> how many."""


@dataclass(frozen=True)
class CheckReport:
    """What was found in all shards."""

    shards: int
    samples: int
    bytes: int
    bad_samples: Counter[str]
    """Kind of bad_samples.Bad -> how many, if samples were decoded."""
    damaged: list[ShardCheck]
    """The shards with problems or bad samples, and those that are gone."""

    @property
    def is_clean(self) -> bool:
        """Whether all is as it should be."""
        return not self.damaged

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "shards": self.shards,
            "samples": self.samples,
            "bytes": self.bytes,
            "problems": [{"shard": s.url, "problem": problem} for s in self.damaged for problem in s.problems],
            "bad_samples": dict(self.bad_samples),
            "bad_samples_listed": [{"shard": s.url, **bad._asdict()} for s in self.damaged for bad in s.bad],
        }


def check_sources(
    sources: list[str],
    storage: ShardStorage,
    *,
    folder: str | None = None,
    decode: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> CheckReport:
    """Check all shards of some sources, and that none is missing from folders that are.

    `folder` is where index files are kept (None: see index_places.py); `decode` decodes every picture and caption;
    `progress(done, total)` is called after each shard. Raises InputError naming the source that is not there, and where
    nothing is stored of any shard.
    """
    urls = expand_sources(sources)
    stored = StoredIndex(urls, folder)
    jobs = [_Job(url, stored.newest(url)) for url in urls]
    if not any(job.stored for job in jobs):
        raise InputError(f"{', '.join(sources)}: nothing is stored of these shards; first run `mammut-clip data index`")
    found: dict[str, ShardCheck] = {}
    with closing(each_done(partial(_check, storage, decode), jobs, workers)) as results:
        for done, checked in enumerate(results, start=1):
            found[checked.url] = checked
            if progress is not None:
                progress(done, len(jobs))
    return _report([found[url] for url in urls], _gone(sources, stored))


class _Job(NamedTuple):
    url: str
    stored: Located | None


def _report(checked: list[ShardCheck], gone: list[ShardCheck]) -> CheckReport:
    samples, size = sum(shard.samples for shard in checked), sum(shard.bytes for shard in checked)
    kinds = sum((shard.kinds for shard in checked), Counter[str]())
    damaged = [shard for shard in checked if shard.problems or shard.kinds]
    return CheckReport(len(checked), samples, size, kinds, damaged + gone)


def _gone(sources: list[str], stored: StoredIndex) -> list[ShardCheck]:
    """Shards of whole folders that are stored, but not there any more."""
    gone = []
    for source in sources:
        folder = Path(source).expanduser().absolute()
        if folder.is_dir():
            names = stored.names(str(folder))
            missing = sorted(names - stamps_in_folder(str(folder), names).keys())
            gone += [ShardCheck(str(folder / name), problems=["in the index, but not there"]) for name in missing]
    return gone


def _check(storage: ShardStorage, decode: bool, job: _Job) -> ShardCheck:
    checked = ShardCheck(job.url)
    entry = job.stored.entry if job.stored is not None else None
    try:
        stamp = storage.stamp(job.url)
        checked.bytes = stamp.size or 0
        checked.problems += ["not in the index"] if entry is None else _changes(entry, stamp)
        recorded = entry.sha256 if entry is not None else None
        if recorded is None and not decode:  # headers are enough, which need not be copied
            _check_content(storage, job, job.url, decode, checked)
        else:
            with storage.local(job.url) as path:
                if recorded is not None and _sha256(path) != recorded:
                    checked.problems.append("other bytes than when it was indexed (sha256)")
                _check_content(storage, job, str(path), decode, checked)
    except InputError as error:
        checked.problems.append(str(error).removeprefix(f"{job.url}: "))
    return checked


def _check_content(storage: ShardStorage, job: _Job, url: str, decode: bool, checked: ShardCheck) -> None:
    with storage.open(url) as reader:
        rows, problem = walk_rows(reader, job.url)
        checked.samples = len(rows)
        if problem is not None:
            checked.problems.append(problem)
        if job.stored is not None:
            checked.problems += _differences(job.stored, rows)
        if decode:
            from mammut_clip.data.shards.check_samples import bad_members

            for bad in bad_members(reader, job.url):
                checked.kinds[bad.kind] += 1
                if len(checked.bad) < _LISTED:
                    checked.bad.append(bad)


def _changes(entry: Entry, stamp: Stamp) -> list[str]:
    if entry.size != stamp.size:
        return [f"{stamp.size} bytes, {entry.size} when it was indexed"]
    return ["changed since it was indexed"] if entry.version != stamp.version else []


def _differences(stored: Located, rows: Rows) -> list[str]:
    count = stored.entry.samples
    if len(rows) != count:
        said = "the index has" if stored.entry.walked else "noted were"
        return [f"{len(rows)} samples, {said} {count}"]
    if not stored.entry.walked:
        return []
    expected = stored.rows()
    if expected is None:
        return ["its index was replaced during the check; check it again"]
    others = np.flatnonzero(rows != expected)
    return (
        [f"{len(others)} samples lie elsewhere than the index says, the first is number {others[0]}"]
        if len(others)
        else []
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
