"""One attempt at a run: its number, its log, its right to write, and what status.json says of it."""

import threading
import time
from contextlib import suppress

from mammut_clip.config.atomic import DiskFullError
from mammut_clip.distributed import Process
from mammut_clip.runs.failures import ErrorKind
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.lease import Lease, LeaseLostError
from mammut_clip.runs.records import State, Status


class PeerFailedError(RuntimeError):
    """Another rank failed first: `rank 3 on host n2: ValueError: ...`."""

    def __init__(self, verdict: str, error_kind: ErrorKind) -> None:
        super().__init__(verdict)
        self.error_kind = error_kind


class Attempt:
    """Only rank 0 writes, and only while it holds the run's lease."""

    def __init__(self, run: RunDir, process: Process, lease: Lease | None) -> None:
        before = run.status
        self._run, self._process, self._lease = run, process, lease
        self._writing = threading.Lock()
        self._has_ended = False
        self.number = before.attempts + 1
        self.samples_seen = before.samples_seen
        self.train_seconds = before.train_seconds
        """Wall time spent in training steps, earlier attempts included."""

    def check_lease(self) -> None:
        """Raise LeaseLostError where another process has taken the run over."""
        if self._lease is not None:
            self._lease.check()

    def write(
        self,
        state: State,
        samples_seen: int | None = None,
        error: str | None = None,
        error_kind: ErrorKind | None = None,
    ) -> None:
        """Write status.json; the clock stays where it was for None. Once it tells an end, the file stays as it is: both
        the main thread and the watch's may have something to say then."""
        if samples_seen is not None:
            self.samples_seen = samples_seen
        if not self._process.is_main:
            return
        with self._writing:
            self.check_lease()
            if self._has_ended:
                return
            Status(
                state=state,
                samples_seen=self.samples_seen,
                attempts=self.number,
                total_samples=self._run.config.total_samples,
                last_error=error,
                error_kind=error_kind,
                updated_at=time.time(),
                train_seconds=round(self.train_seconds, 3),
            ).write(self._run.status_file)
            self._has_ended = state != "running"

    def write_end(self, state: State, error: str, error_kind: ErrorKind | None = None) -> None:
        """As `write`, on the way out of an error, which must not be hidden by another."""
        with suppress(DiskFullError, LeaseLostError):
            self.write(state, error=error, error_kind=error_kind)
