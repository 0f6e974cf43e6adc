"""How far a launch is: read from the run directories, extrapolated by the plan's predicted cost."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammut_clip.sweep.ledger import Entry, Ledger

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


class Progress:
    """Snapshots of a ledger. Runs that have ended are read once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._started = time.monotonic()
        self._seen = {run_id: self._read(entry)[0] for run_id, entry in ledger.entries.items()}
        self._at_start = self._predicted_seconds_done()

    def snapshot(self, note: str = "") -> Snapshot:
        ledger, running, finished = self._ledger, [], len(self._ledger.finished)
        active = [*ledger.in_job, *ledger.elsewhere]
        for run_id in active:
            entry = ledger.entries[run_id]
            samples, loss = self._read(entry)
            self._seen[run_id] = samples
            state = entry.run.status.state
            finished += state == "finished"  # its job goes on with the next run
            if state == "running":
                running.append(RunningRun(run_id, samples, entry.planned.config.total_samples, loss))
        for run_id in ledger.finished:
            self._seen[run_id] = ledger.entries[run_id].planned.config.total_samples
        elapsed = time.monotonic() - self._started
        done = self._predicted_seconds_done()
        left = sum(self._left(entry) for run_id, entry in ledger.entries.items() if run_id not in ledger.failed)
        rate = (done - self._at_start) / elapsed if elapsed > 0 else 0.0
        return Snapshot(
            runs=len(ledger.entries),
            finished=finished,
            failed=len(ledger.failed),
            running=running,
            samples_seen=sum(self._seen.values()),
            total_samples=sum(entry.planned.config.total_samples for entry in ledger.entries.values()),
            elapsed_seconds=elapsed,
            eta_seconds=left / rate if rate > 0 else None,
            note=note,
        )

    @staticmethod
    def _read(entry: Entry) -> tuple[int, float | None]:
        """Samples seen and current loss of a run."""
        row, status = last_row(entry.run.metrics_file), entry.run.status
        return max(status.samples_seen, int(row.get("samples_seen", 0))), row.get("loss")

    def _share(self, entry: Entry) -> float:
        return min(1.0, self._seen[entry.planned.id] / entry.planned.config.total_samples)

    def _left(self, entry: Entry) -> float:
        return entry.planned.seconds * (1 - self._share(entry))

    def _predicted_seconds_done(self) -> float:
        return sum(entry.planned.seconds * self._share(entry) for entry in self._ledger.entries.values())
