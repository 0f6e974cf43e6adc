"""The part that all kinds of packing share: read and check pictures in parallel, write shards, account for
bad rows."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from mammut_clip.config.atomic import scratch_folder, write_text
from mammut_clip.config.errors import InputError
from mammut_clip.data.pictures import BadRowError, PictureOptions, read_picture
from mammut_clip.data.shards.shard_writer import ShardSetWriter

QUARANTINE = "quarantine.csv"
_SHOWN = 10
_CHUNK = 256
_THREADS = 4  # PIL decodes outside Python's lock
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Candidate:
    """A picture file that may become samples."""

    row: int
    """In the table, from 1; or the file's number where there is no table."""
    file: Path
    key: str | None
    """The user's own key; None numbers the samples."""
    targets: list[dict[str, bytes]]
    """For each sample made of this picture, its other members: extension -> bytes."""
    problem: BadRowError | None = None
    """What is wrong with the row, before its picture is looked at."""


@dataclass(frozen=True)
class Layout:
    """Names of folders, shards and keys."""

    subfolder: str
    shard_name: Callable[[int], str]
    key: Callable[[int], str]
    samples_per_shard: int


@dataclass(frozen=True)
class PackReport:
    """What was packed."""

    folder: str
    samples: int
    shards: int
    skipped: dict[str, int]
    """Kind of problem -> rows."""
    quarantine: str | None
    """The list of skipped rows."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass
class _BadRows:
    total: int
    found: list[tuple[int, Path, str, str]] = field(default_factory=list)

    def add(self, candidate: Candidate, error: BadRowError) -> None:
        self.found.append((candidate.row, candidate.file, error.kind, str(error)))

    def counts(self) -> dict[str, int]:
        return dict(Counter(kind for _, _, kind, _ in self.found).most_common())

    def error(self, source: str) -> InputError:
        counts = ", ".join(f"{count} {kind}" for kind, count in self.counts().items())
        lines = [f"{source}: {len(self.found)} of {self.total} rows cannot become samples ({counts})"]
        lines += [f"  row {row}: {file}: {kind}: {reason}" for row, file, kind, reason in self.found[:_SHOWN]]
        if len(self.found) > _SHOWN:
            lines.append(f"  and {len(self.found) - _SHOWN} more")
        lines.append(
            "Nothing was written. Mend these rows, or leave them out with --skip-bad (skip_bad=True in Python)."
        )
        return InputError("\n".join(lines))

    def table(self) -> str:
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("row", "file", "kind", "reason"), *self.found])
        return file.getvalue()


def pack(
    candidates: Iterable[Candidate],
    total: int,
    source: str,
    out: Path,
    layout: Layout,
    pictures: PictureOptions,
    skip_bad: bool,
    progress: Progress | None,
    describe: Callable[[Path, int], None] | None = None,
) -> PackReport:
    """Write the samples of all candidates to the new folder `out`, which appears when it is complete.

    `describe(folder, shards)` writes what belongs beside the shards; `progress(rows done, total)` is called
    now and then. Raises InputError where `out` has something in it, rows are bad, or none is good.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists already; expected the name of a new folder")
    bad = _BadRows(total)
    with scratch_folder(out) as folder:
        with ShardSetWriter(folder / layout.subfolder, layout.samples_per_shard, layout.shard_name) as writer:
            _write(candidates, writer, layout, pictures, bad, skip_bad, progress)
        if bad.found and (not skip_bad or writer.samples == 0):
            raise bad.error(source)
        if bad.found:
            write_text(folder / QUARANTINE, bad.table())
        if describe is not None:
            describe(folder, writer.shards)
        if out.exists():
            out.rmdir()
        folder.rename(out)
    quarantine = str(out / QUARANTINE) if bad.found else None
    return PackReport(str(out), writer.samples, writer.shards, bad.counts(), quarantine)


def _write(
    candidates: Iterable[Candidate],
    writer: ShardSetWriter,
    layout: Layout,
    pictures: PictureOptions,
    bad: _BadRows,
    skip_bad: bool,
    progress: Progress | None,
) -> None:
    def read(candidate: Candidate) -> tuple[str, bytes] | BadRowError:
        try:
            return candidate.problem or read_picture(candidate.file, pictures)
        except BadRowError as error:
            return error

    remaining = iter(candidates)
    done = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        while chunk := list(islice(remaining, _CHUNK)):
            for candidate, result in zip(chunk, pool.map(read, chunk), strict=True):
                if isinstance(result, BadRowError):
                    bad.add(candidate, result)
                elif skip_bad or not bad.found:  # else the rows are only checked, to name all bad ones at once
                    _add(writer, layout, candidate, *result)
            done += len(chunk)
            if progress is not None:
                progress(done, bad.total)


def _add(writer: ShardSetWriter, layout: Layout, candidate: Candidate, extension: str, picture: bytes) -> None:
    for number, target in enumerate(candidate.targets):
        if candidate.key is None:
            key = layout.key(writer.samples)
        else:
            key = candidate.key if len(candidate.targets) == 1 else f"{candidate.key}_{number}"
        writer.add(key, {extension: picture, **target})
