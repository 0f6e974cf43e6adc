"""How far a launch is, for those who show it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TAIL_BYTES = 8192


@dataclass(frozen=True)
class RunningRun:
    """A run that trains now."""

    id: str
    samples_seen: int
    total_samples: int
    loss: float | None


@dataclass(frozen=True)
class Snapshot:
    """A launch at one moment."""

    runs: int
    finished: int
    failed: int
    running: list[RunningRun]
    samples_seen: int
    """Over all runs."""
    total_samples: int
    elapsed_seconds: float
    eta_seconds: float | None
    """None until something has been trained in this launch."""
    note: str = ""
    """What else there is to know, such as that Slurm does not answer."""


Report = Callable[[Snapshot], None]


def last_row(metrics_file: Path) -> dict[str, Any]:
    """The last whole line of metrics.jsonl, read from the end; empty where there is none yet."""
    try:
        with metrics_file.open("rb") as file:
            file.seek(max(0, metrics_file.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            return row
    return {}
