"""What runs inside a job on this machine: a command, in a process group of its own.

submitit pickles `Work` by reference, so this module must be importable in the job, and imports little. The job is told
to stop by SIGTERM (its launcher), SIGUSR1 (a person) or SIGUSR2 (its time limit is near: submitit then starts it
again); the command then gets SIGTERM and time to write its checkpoint.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from mammut_clip.config.atomic import write_json
from mammut_clip.runs.lock import hold


@dataclass
class Work:
    """The command of one job. While it runs, the file `record`.lock is locked."""

    command: list[str]
    record: str
    """A JSON file that this keeps: process ids, how the command ended, whether it was told to stop."""
    environment: dict[str, str] = field(default_factory=dict)
    """Added to the job's environment."""
    grace_seconds: float = 60.0
    """Between SIGTERM and SIGKILL."""

    def __call__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGUSR1, self._on_stop)
        signal.signal(signal.SIGALRM, self._on_alarm)
        # Ctrl-C in the terminal is the launcher's to handle, and the launcher ends its jobs in good order.
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        with hold(lock_of(Path(self.record))):
            ended = None if self._stopping else self._run()
            self._write_record(ended)
            signal.alarm(0)

    def checkpoint(self) -> Any:
        """Called by submitit at SIGUSR2: stop the command in good order and hand back what to run after that."""
        from submitit.helpers import DelayedSubmission

        self._stopping = True
        self._signal_child(signal.SIGTERM)
        deadline = time.monotonic() + self.grace_seconds
        while self._child_is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._signal_child(signal.SIGKILL)
        return DelayedSubmission(Work(self.command, self.record, self.environment, self.grace_seconds))

    def _write_record(self, ended: dict[str, Any] | None) -> None:
        running = self._child.pid if self._child is not None and self._child.returncode is None else None
        record = {"pid": os.getpid(), "running_pid": running, "ended": ended, "stopped": self._stopping}
        write_json(Path(self.record), record)

    def _run(self) -> dict[str, Any]:
        print(f"$ {shlex.join(self.command)}", flush=True)
        began = time.time()
        environment = {**os.environ, **self.environment}
        self._child = subprocess.Popen(self.command, env=environment, stdin=subprocess.DEVNULL, process_group=0)
        self._write_record(None)
        if self._stopping:  # the signal came while the command was being started
            self._signal_child(signal.SIGTERM)
        # Polled, not waited for: a wait holds a lock that the signal handlers would meet.
        noted = False
        while self._child.poll() is None:
            if self._stopping and not noted:  # at once: a cancelled job may be killed before its command has ended
                self._write_record(None)
                noted = True
            time.sleep(0.05)
        code, seconds = self._child.returncode, time.time() - began
        print(f"exit code {code} after {seconds:.1f} s", file=sys.stderr, flush=True)
        return {"exit_code": code, "began": began, "seconds": seconds}

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            signal.setitimer(signal.ITIMER_REAL, self.grace_seconds)
        self._signal_child(signal.SIGTERM)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        self._signal_child(signal.SIGKILL)

    def _child_is_alive(self) -> bool:
        if self._child is None or self._child.returncode is not None:
            return False
        ended = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return ended is None

    def _signal_child(self, number: int) -> None:
        """Signal the command's whole group, so that no worker of it is left."""
        if self._child is not None and self._child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)


def lock_of(record: Path) -> Path:
    """The file that a local job holds locked while it runs."""
    return record.with_suffix(".lock")
