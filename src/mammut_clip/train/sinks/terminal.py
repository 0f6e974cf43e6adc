"""Rows of metrics on standard error: a progress bar where somebody watches, else a line each."""

import math
import sys
import time
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from mammut_clip.config.quantity import format_quantity

_MUCH_WAITING = 0.2
"""Share of the time from which on waiting for data is worth a word."""

_MEMORY_SECONDS = 300.0
"""How far the pace looks back: what was so long ago weighs 1 / e."""


class Pace:
    """How long the rest will take, from a speed that is smoothed over the last minutes, pauses included."""

    def __init__(self, start: int, total: int, now: float) -> None:
        """`start` and `total` in samples seen, `now` in seconds."""
        self._total = total
        self._last, self._at = start, now
        self._samples = self._seconds = 0.0

    def remaining(self, samples_seen: int, now: float) -> float:
        """Seconds until the end of the run, when it has come so far; each call counts as a point of the curve."""
        passed = max(now - self._at, 1e-9)
        kept = math.exp(-passed / _MEMORY_SECONDS)
        self._samples = self._samples * kept + samples_seen - self._last
        self._seconds = self._seconds * kept + passed
        self._last, self._at = samples_seen, now
        return (self._total - samples_seen) * self._seconds / max(self._samples, 1e-9)


class ProgressBar:
    """One bar that moves at every row."""

    def __init__(self, name: str, start: int, total: int) -> None:
        self._pace = Pace(start, total, time.monotonic())
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[shown]}"),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._progress.start()
        self._task = self._progress.add_task(name, total=total, completed=start, shown="")

    def write(self, row: dict[str, Any]) -> None:
        samples = row["samples_seen"]
        left = _duration(self._pace.remaining(samples, time.monotonic()))
        self._progress.update(self._task, completed=samples, shown=f"{_shown(row)}  {left} left")

    def close(self, completed: bool) -> None:
        self._progress.stop()


class LogLines:
    """A line for every row."""

    def __init__(self, name: str, start: int, total: int) -> None:
        self._name, self._total = name, total
        self._pace = Pace(start, total, time.monotonic())

    def write(self, row: dict[str, Any]) -> None:
        samples = row["samples_seen"]
        left = _duration(self._pace.remaining(samples, time.monotonic()))
        clock = f"{format_quantity(samples)} of {format_quantity(self._total)} samples"
        print(f"{self._name}  {clock}  {_shown(row)}  {left} left", file=sys.stderr, flush=True)

    def close(self, completed: bool) -> None:
        pass


def open_terminal(name: str, start: int, total: int) -> ProgressBar | LogLines:
    """What suits standard error."""
    return (ProgressBar if sys.stderr.isatty() else LogLines)(name, start, total)


def _shown(row: dict[str, Any]) -> str:
    """What a row says in a few words."""
    loss = "not finite" if row["loss"] is None else f"{row['loss']:.4f}"
    shown = f"loss {loss}  {row['samples_per_second']:.0f} samples/s"
    if row.get("mfu") is not None:
        shown += f"  MFU {row['mfu']:.0%}"
    if row.get("data_wait", 0) > _MUCH_WAITING:
        shown += f"  waits {row['data_wait']:.0%} for data"
    if row.get("skipped_steps"):
        shown += f"  skipped {row['skipped_steps']} step(s)"
    return shown + (f"  bad {row['bad_samples']}" if row.get("bad_samples") else "")


def _duration(seconds: float) -> str:
    """As `1:02:03` or `2 days, 1:02:03`."""
    return str(timedelta(seconds=round(seconds)))
