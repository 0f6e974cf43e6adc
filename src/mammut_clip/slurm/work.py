"""What runs inside a job: commands, one after another, each in a process group of its own.

submitit pickles `Work` by reference, so this module must be importable in the job, and imports little. The job is told
to stop by SIGTERM (cancelled, preempted), SIGUSR1 (by a person: scancel --signal=USR1) or SIGUSR2 (the time limit is
near: submitit then queues the job again); each time the running command gets SIGTERM and time to write its checkpoint.
The environment is passed on as it is: who a process is and where it meets the others is found by the command itself.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from mammut_clip.config.atomic import write_json
from mammut_clip.runs.lock import hold


@dataclass
class Work:
    """The commands of one job. A call runs them and returns {command, exit_code, seconds} for each that was started."""

    commands: list[list[str]]
    environment: dict[str, str] = field(default_factory=dict)
    """Added to the job's environment."""
    grace_seconds: float = 60.0
    """Between SIGTERM and SIGKILL."""
    record: str = ""
    """A JSON file that this keeps: process id, commands, a record of each that ended, whether it was told to stop."""
    is_local: bool = False
    """Whether a launcher on this machine owns the job; while it runs, the file `record`.lock is then locked."""

    def __call__(self) -> list[dict[str, Any]]:
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGUSR1, self._on_stop)
        signal.signal(signal.SIGALRM, self._on_alarm)
        environment = {**os.environ, **self.environment}
        with self._present():
            ended: list[dict[str, Any]] = []
            for command in self.commands:
                if self._stopping:
                    break
                ended.append(self._run(command, environment, ended))
            self._write_record(ended)
            signal.alarm(0)
            return ended

    def checkpoint(self) -> Any:
        """Called by submitit at SIGUSR2: stop the command in good order and hand back what to run after the requeue."""
        from submitit.helpers import DelayedSubmission

        self._stopping = True
        self._signal_child(signal.SIGTERM)
        deadline = time.monotonic() + self.grace_seconds
        while self._child_is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._signal_child(signal.SIGKILL)
        fresh = Work(self.commands, self.environment, self.grace_seconds, self.record, self.is_local)
        return DelayedSubmission(fresh)

    def _present(self) -> Any:
        if not self.is_local:
            return nullcontext()
        # Ctrl-C in the terminal is the launcher's to handle, and the launcher ends its jobs in good order.
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return hold(lock_of(Path(self.record)))

    def _write_record(self, ended: list[dict[str, Any]]) -> None:
        if os.environ.get("SLURM_PROCID", "0") == "0" or self.is_local:
            running = self._child.pid if self._child is not None and self._child.returncode is None else None
            record = {"pid": os.getpid(), "running_pid": running, "commands": self.commands, "ended": ended}
            write_json(Path(self.record), record | {"stopped": self._stopping})

    def _run(self, command: list[str], environment: dict[str, str], ended: list[dict[str, Any]]) -> dict[str, Any]:
        print(f"$ {shlex.join(command)}", flush=True)
        started = time.time()
        self._child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_ignore_user_signals
        )
        self._write_record(ended)
        if self._stopping:  # the signal came while the command was being started
            self._signal_child(signal.SIGTERM)
        # Polled, not waited for: a wait holds a lock that the signal handlers would meet.
        noted = False
        while self._child.poll() is None:
            if self._stopping and not noted:  # at once: a cancelled job may be killed before its command has ended
                self._write_record(ended)
                noted = True
            time.sleep(0.05)
        record = {"command": command, "exit_code": self._child.returncode, "seconds": time.time() - started}
        print(f"exit code {record['exit_code']} after {record['seconds']:.1f} s", file=sys.stderr, flush=True)
        return record

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


def _ignore_user_signals() -> None:
    """Slurm sends these to every process of a step; until a trainer handles them their default would end it, and a
    command that knows only SIGTERM before it has saved."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def lock_of(record: Path) -> Path:
    """The file that a local job holds locked while it runs."""
    return record.with_suffix(".lock")
