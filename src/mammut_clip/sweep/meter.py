"""How far a sweep is, for a launcher that watches it: read from the run directories, extrapolated by the plan."""

import time
from dataclasses import dataclass, field

from mammut_clip.sweep.progress import Snapshot
from mammut_clip.sweep.standing import Standing
from mammut_clip.sweep.stored import Launched


@dataclass
class Meter:
    """Makes a snapshot of each look."""

    started: float = field(default_factory=time.monotonic)
    _at_start: float | None = None
    """Predicted seconds of work that were done when it began."""

    def snapshot(self, launched: Launched, standing: Standing, note: str = "") -> Snapshot:
        """The sweep as `standing` has it."""
        runs = [run for run in launched.stored.runs if not run.dropped]
        samples = standing.samples
        done = sum(run.seconds * min(1.0, samples.get(run.id, 0) / run.total_samples) for run in runs)
        if self._at_start is None:
            self._at_start = done
        elapsed = time.monotonic() - self.started
        rate = (done - self._at_start) / elapsed if elapsed > 0 else 0.0
        failed = {run.id for run in standing.failed} | set(standing.cancelled)
        left = sum(run.seconds for run in runs if run.id not in failed) - done
        finished = set(standing.finished)
        return Snapshot(
            runs=len(runs),
            finished=sum(run.id in finished for run in runs),
            failed=sum(run.id in failed for run in runs),
            running=standing.running,
            samples_seen=sum(samples.values()),
            total_samples=sum(run.total_samples for run in runs),
            elapsed_seconds=elapsed,
            eta_seconds=max(0.0, left) / rate if rate > 0 else None,
            note=note,
        )
