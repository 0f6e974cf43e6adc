"""metrics.jsonl: one JSON object per logged step, appended whole, read past a line that a crash cut off."""

import json
import os
from pathlib import Path
from typing import Any

from mammut_clip.config.atomic import disk_errors

WALL_CLOCK_FIELDS = frozenset(
    {
        "samples_per_second",
        "samples_per_second_per_gpu",
        "tflops_per_second",
        "mfu",
        "data_wait",
        "checkpoint_wait",
        "step_seconds_p50",
        "step_seconds_p95",
        "step_seconds_max",
        "peak_memory_gb",
        "train_seconds",
        "time",
    }
)
"""The fields that say how fast it went and in how much memory, which no two runs share. The others are functions of the
config and the number of processes: a run that was stopped and resumed writes them as one that was not."""


def append(path: Path, row: dict[str, Any]) -> None:
    """Add one line. Raises DiskFullError where there is no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines, in order; none where the file is absent."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [row for line in lines if (row := _parse(line)) is not None]


def rewind(path: Path, samples_seen: int) -> None:
    """Cut the file off where the rows after a point of the clock begin, which a resumed run writes again.

    What stays is not touched. Raises DiskFullError where there is no room.
    """
    try:
        end, size = _end_of_rows(path, samples_seen), path.stat().st_size
    except FileNotFoundError:
        return
    if end < size:
        with disk_errors(path):
            os.truncate(path, end)
            flush_to_disk(path)


def flush_to_disk(path: Path) -> None:
    """Return when what was written so far would survive a power cut; at once where the file is absent."""
    if path.exists():
        with disk_errors(path), path.open("rb+") as file:
            os.fsync(file.fileno())


def _end_of_rows(path: Path, samples_seen: int) -> int:
    """The first byte behind the rows up to a point of the clock, and before a line that was cut off."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            row = _parse(line)
            if not line.endswith(b"\n") or (row is not None and row.get("samples_seen", 0) > samples_seen):
                break
            end += len(line)
    return end


def _parse(line: bytes) -> dict[str, Any] | None:
    """The row of one line; None where it was cut off."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
