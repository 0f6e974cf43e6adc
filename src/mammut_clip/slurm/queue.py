"""What is in Slurm's queue: one squeue for all jobs. An error is "unknown", never "gone"."""

import subprocess
from dataclasses import dataclass

_TIMEOUT_SECONDS = 30  # squeue itself gives up after 18 s where the controller is away


@dataclass(frozen=True)
class QueuedJob:
    """One job that Slurm has not finished with."""

    id: str
    name: str
    state: str
    """Slurm's state, such as PENDING, RUNNING or COMPLETING."""
    reason: str
    """Why it waits, such as Resources or JobHeldUser."""


def read_queue() -> dict[str, QueuedJob] | None:
    """Job id -> job, for all of this user's jobs; None where Slurm did not answer, which says nothing about any job."""
    command = ["squeue", "--me", "--noheader", "--format=%A|%T|%r|%j"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_queue(done.stdout) if done.returncode == 0 else None


def parse_queue(text: str) -> dict[str, QueuedJob]:
    """squeue's lines as jobs; the name comes last because a reason may hold anything but `|`."""
    jobs = {}
    for line in text.splitlines():
        fields = line.split("|", 3)
        if len(fields) == 4:
            job_id, state, reason, name = fields
            jobs[job_id] = QueuedJob(job_id, name, state, reason)
    return jobs
