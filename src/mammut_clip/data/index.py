"""Where every training sample's bytes are: the shards, their counts, and offsets of pictures and captions.

Walking the headers of a shard takes a fraction of a second, but there are thousands: what was found is kept
beside the shards in one file, `shards.index`, and used again while a shard's size and modification time stay
as they were. The file is one line of JSON about the shards, then a row of 24 bytes per sample, which is
mapped, not loaded.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mammut_clip.config.atomic import atomic_file
from mammut_clip.config.errors import InputError
from mammut_clip.data import tar
from mammut_clip.data.sources import expand_sources

INDEX_NAME = "shards.index"
IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
ROW = np.dtype([("image_offset", "<i8"), ("caption_offset", "<i8"), ("image_size", "<u4"), ("caption_size", "<u4")])
_FORMAT = 1
_log = logging.getLogger(__name__)

Rows = npt.NDArray[np.void]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Shard:
    """One tar of the training data and its samples."""

    path: Path
    size: int
    """Bytes of the tar file."""
    modified: int
    """Modification time in nanoseconds."""
    rows: Rows
    """One row of ROW per sample."""


@dataclass(frozen=True)
class Location:
    """Where one sample's bytes are in its shard."""

    path: Path
    image_offset: int
    image_size: int
    caption_offset: int
    caption_size: int


class ShardIndex:
    """All samples of some shards, by shard number and sample number."""

    def __init__(self, shards: list[Shard]) -> None:
        self.shards = shards
        self.counts = np.array([len(shard.rows) for shard in shards], dtype=np.int64)

    @classmethod
    def open(cls, sources: list[str], progress: Progress | None = None) -> "ShardIndex":
        """The index of folders, tar files and brace patterns; walks only shards that changed since it was
        stored.

        `progress(done, total)` is called after each shard that had to be walked. Raises InputError naming the
        source and the shard where one is missing, truncated, empty or has a sample without a picture or a
        caption.
        """
        paths = expand_sources(sources)
        stored = {folder: _read(folder / INDEX_NAME) for folder in sorted({path.parent for path in paths})}
        states = {path: path.stat() for path in paths}
        found: dict[Path, Shard] = {}
        for path, state in states.items():
            shard = stored[path.parent].get(path.name)
            if shard is not None and (shard.size, shard.modified) == (state.st_size, state.st_mtime_ns):
                found[path] = shard
        stale = [path for path in paths if path not in found]
        for done, path in enumerate(stale, start=1):
            found[path] = Shard(path, states[path].st_size, states[path].st_mtime_ns, _walk(path))
            if progress is not None:
                progress(done, len(stale))
        for folder in sorted({path.parent for path in stale}):
            known = {name: shard for name, shard in stored[folder].items() if shard.path.exists()}
            _write(folder / INDEX_NAME, known | {p.name: s for p, s in found.items() if p.parent == folder})
        return cls([found[path] for path in paths])

    def __len__(self) -> int:
        return int(self.counts.sum())

    def locate(self, shard: int, sample: int) -> Location:
        """Where the bytes of a sample are."""
        image_offset, caption_offset, image_size, caption_size = self.shards[shard].rows[sample].item()
        return Location(self.shards[shard].path, image_offset, image_size, caption_offset, caption_size)

    def key(self, shard: int, sample: int) -> str:
        """The key of a sample, for messages: walks the shard, since keys are not kept."""
        offset = self.shards[shard].rows[sample]["image_offset"]
        for found in tar.samples(self.shards[shard].path):
            if any(member.offset == offset for member in found.members.values()):
                return found.key
        return f"number {sample}"

    def summary(self) -> dict[str, int]:
        """What `mammut-clip data index --json` prints: shards, samples, and bytes of the tar files."""
        total = sum(shard.size for shard in self.shards)
        return {"shards": len(self.shards), "samples": len(self), "bytes": total}


def _walk(path: Path) -> Rows:
    found = []
    for sample in tar.samples(path):
        image = next((sample.members[e] for e in IMAGE_EXTENSIONS if e in sample.members), None)
        caption = sample.members.get("txt")
        if image is None or caption is None:
            missing = "caption (.txt)" if image is not None else f"picture (.{', .'.join(IMAGE_EXTENSIONS)})"
            there = ", ".join(f".{extension}" for extension in sample.members)
            raise InputError(f"{path}: sample {sample.key!r} has no {missing}; it has {there}")
        found.append((image.offset, caption.offset, image.size, caption.size))
    if not found:
        raise InputError(f"{path}: no samples in this shard; expected members such as 000000.jpg and 000000.txt")
    return np.array(found, dtype=ROW)


def _write(path: Path, shards: dict[str, Shard]) -> None:
    """Store the index of one folder's shards; a folder that cannot be written to is walked anew each time."""
    entries = []
    start = 0
    for name, shard in sorted(shards.items()):
        entry = {
            "name": name,
            "size": shard.size,
            "modified": shard.modified,
            "start": start,
            "count": len(shard.rows),
        }
        entries.append(entry)
        start += len(shard.rows)
    head = json.dumps({"format": _FORMAT, "shards": entries}).encode() + b"\n"
    try:
        with atomic_file(path) as file:
            file.write(head.rjust(len(head) + -len(head) % 8))
            for _, shard in sorted(shards.items()):
                file.write(shard.rows.tobytes())
    except InputError as error:
        _log.warning("the index is not kept, and shards are walked again next time: %s", error)


def _read(path: Path) -> dict[str, Shard]:
    """The stored index by shard name; empty where there is none or it is not of this format."""
    try:
        with path.open("rb") as file:
            head = file.readline()
        stored = json.loads(head)
        if stored["format"] != _FORMAT:
            return {}
        count = sum(entry["count"] for entry in stored["shards"])
        rows = np.memmap(path, dtype=ROW, mode="r", offset=len(head), shape=(count,))
        return {
            entry["name"]: Shard(
                path.parent / entry["name"],
                entry["size"],
                entry["modified"],
                rows[entry["start"] : entry["start"] + entry["count"]],
            )
            for entry in stored["shards"]
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        _log.warning("%s cannot be read as an index and is made anew", path)
        return {}
