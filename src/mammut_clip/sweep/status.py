"""How a sweep stands, from its run directories alone: no launcher, no queue, no database is asked."""

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mammut_clip.config.atomic import read_json
from mammut_clip.config.errors import InputError
from mammut_clip.runs.layout import RunDir, SweepDir
from mammut_clip.runs.lease import is_leased
from mammut_clip.sweep.progress import last_row

_QUIET_SECONDS = 60
"""A run that says it is running and wrote nothing for this long is looked at more closely."""


@dataclass(frozen=True)
class StatusRow:
    """One run."""

    id: str
    state: str
    """As in status.json; `interrupted` also where the trainer died without a word."""
    samples_seen: int
    total_samples: int
    loss: float | None
    attempts: int
    last_error: str | None
    updated_at: float | None
    """Unix time of the last sign of life; None before the first."""


@dataclass(frozen=True)
class SweepStatus:
    """A sweep at one moment."""

    sweep: str
    rows: list[StatusRow]

    @property
    def counts(self) -> dict[str, int]:
        """State -> number of runs, for the states that occur."""
        return dict(Counter(row.state for row in self.rows))

    def to_json_dict(self) -> dict[str, Any]:
        """What `sweep status --json` prints."""
        return {"sweep": self.sweep, "counts": self.counts, "runs": [asdict(row) for row in self.rows]}


def sweep_status(sweep: SweepDir | Path) -> SweepStatus:
    """The state of every run in a sweep's folder. Raises InputError where there is no sweep."""
    sweep = SweepDir(sweep) if isinstance(sweep, Path) else sweep
    runs = list(sweep.runs()) if sweep.path.is_dir() else []
    if not runs:
        raise InputError(f"{sweep.path}: no sweep here (no folder in it holds a config.yaml)")
    planned = (read_json(sweep.path / "launch" / "plan.json") or {}).get("runs", [])
    # The plan spares us a YAML file per run; its runs keep their configs for life.
    totals = {row["id"]: row["steps"] * row["global_batch_size"] for row in planned}
    return SweepStatus(sweep.name, [_row(run, totals.get(run.name)) for run in runs])


def _row(run: RunDir, total_samples: int | None) -> StatusRow:
    status, row = run.status, last_row(run.metrics_file)
    written = run.status_file.exists()
    state: str = status.state
    if state == "running" and time.time() - status.updated_at > _QUIET_SECONDS and not is_leased(run.lock_file):
        state = "interrupted"
    return StatusRow(
        id=run.name,
        state=state,
        samples_seen=max(status.samples_seen, int(row.get("samples_seen", 0))),
        total_samples=run.config.total_samples if total_samples is None else total_samples,
        loss=row.get("loss"),
        attempts=status.attempts,
        last_error=status.last_error,
        updated_at=status.updated_at if written else None,
    )
