"""quarantine/<rank>.jsonl: the samples that a run replaced, one JSON object each, appended by the rank that met them.

Nothing is written where nothing is replaced. As with metrics.jsonl, a line that a crash cut off is passed over, and
what lies behind the checkpoint that a run resumes from is dropped, since the run writes it again.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mammut_clip.config.atomic import atomic_file, disk_errors


@dataclass(frozen=True)
class Replaced:
    """One sample that was not used, and why."""

    position: int
    """Samples seen before it."""
    kind: str
    """What is wrong with it, such as `broken_picture`."""
    dataset: str
    shard: str
    key: str
    reason: str
    """The same in a phrase for people."""


_FIELDS = [field.name for field in fields(Replaced)]


def append(folder: Path, rank: int, replaced: Iterable[Replaced]) -> None:
    """Add a line for each to this rank's file. Raises DiskFullError where there is no room."""
    lines = [_line(one) for one in replaced]
    if not lines:
        return
    path = folder / f"{rank}.jsonl"
    with disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(lines))


def read(folder: Path) -> list[Replaced]:
    """What all ranks wrote, by position; what stands twice (position, shard, key) is given once."""
    found = {(one.position, one.shard, one.key): one for one in walk(folder)}
    return sorted(found.values(), key=lambda one: one.position)


def walk(folder: Path) -> Iterator[Replaced]:
    """Every whole line of every rank, file after file, without holding them all; none where there is no folder."""
    for path in _files(folder):
        yield from _entries(path)


def rewind(folder: Path, samples_seen: int) -> None:
    """Drop what stands at `samples_seen` or behind, whichever rank wrote it: a resumed run writes it again.

    Raises DiskFullError where there is no room.
    """
    for path in _files(folder):
        found = {one.position < samples_seen for one in _entries(path)}
        if True not in found:
            path.unlink()
        elif False in found or not _is_whole(path):
            with atomic_file(path) as file:
                file.writelines(_line(one).encode() for one in _entries(path) if one.position < samples_seen)
    with suppress(OSError):  # not there, or not empty
        folder.rmdir()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.jsonl") if path.stem.isdigit())


def _line(one: Replaced) -> str:
    return json.dumps(asdict(one)) + "\n"


def _is_whole(path: Path) -> bool:
    """Whether no line was cut off; what is appended next would become part of it."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _entries(path: Path) -> Iterator[Replaced]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            one = _parse(line)
            if one is not None:
                yield one


def _parse(line: str) -> Replaced | None:
    """The entry of one line; None where it was cut off."""
    try:
        value: Any = json.loads(line)
        return Replaced(**{name: value[name] for name in _FIELDS})
    except (json.JSONDecodeError, KeyError, TypeError):
        return None
