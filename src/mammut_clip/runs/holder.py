"""Who holds a lease: the record of a process, and what can be known at once of whether it still lives."""

import json
import os
import socket
import uuid
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, ValidationError

from mammut_clip.runs.records import Record

_SIZE = 1024
"""Bytes of a record. All have this length, and renewals change their last few bytes, so that one written in place over
another is never met half."""


class Holder(Record):
    """The process that holds a lease, as it stands in the file."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    """Drawn anew for each lease."""
    host: str
    """Host name."""
    machine: str
    """Kernel and process namespace: where this is the same, `pid` means the same process."""
    pid: int = Field(gt=0, lt=2**31)
    """Process id."""
    started: int | None
    """When the process began, in clock ticks since the boot; null where the system does not tell."""
    slurm_job: str | None
    """Slurm's job, if it is in one."""
    slurm_cluster: str | None
    """The cluster whose job that is."""
    slurm_restarts: int
    """How often the job had been queued again."""
    lease_seconds: float = Field(gt=0, le=86_400)
    """Without a renewal for this long the lease has run out."""
    state: Literal["held", "free"] = "held"
    """free: given back in good order."""
    renewals: int = 0
    """Signs of life so far."""

    def __str__(self) -> str:
        job = f" (Slurm job {self.slurm_job})" if self.slurm_job else ""
        return f"process {self.pid} on {self.host}{job}"

    def encode(self) -> bytes:
        """The record as JSON, padded to a fixed length."""
        return (json.dumps(self.model_dump()).ljust(_SIZE - 1) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> "Holder | None":
        """The record; None where `data` is none, or is not whole."""
        try:
            return cls.model_validate_json(data)
        except ValidationError:
            return None


def this_process(lease_seconds: float) -> Holder:
    """A fresh record of the process that asks."""
    restarts = os.environ.get("SLURM_RESTART_COUNT", "")
    found = _stat(os.getpid())
    return Holder(
        id=uuid.uuid4().hex,
        host=socket.gethostname(),
        machine=this_machine(),
        pid=os.getpid(),
        started=None if found is None else found[1],
        slurm_job=os.environ.get("SLURM_JOB_ID"),
        slurm_cluster=os.environ.get("SLURM_CLUSTER_NAME"),
        slurm_restarts=int(restarts) if restarts.isdigit() else 0,
        lease_seconds=lease_seconds,
    )


@cache
def this_machine() -> str:
    """Host name, boot and process namespace: hosts of one name differ in it, and so do containers on one host."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 (no real path)
    except OSError:  # not Linux
        return socket.gethostname()


def is_gone(holder: Holder, seen_by: Holder) -> bool:
    """Whether `seen_by` can tell at once that `holder` is dead: it ran on the same machine and is there no more, or
    in an earlier start of the same Slurm job, which begins again only when all its processes have ended."""
    if holder.machine == seen_by.machine:
        return _life(holder) == "gone"
    same_job = holder.slurm_job is not None and holder.slurm_job == seen_by.slurm_job
    return same_job and holder.slurm_cluster == seen_by.slurm_cluster and holder.slurm_restarts < seen_by.slurm_restarts


def is_running_here(holder: Holder) -> bool:
    """Whether it is certain that the process lives, on this machine, and is not suspended."""
    return holder.machine == this_machine() and _life(holder) == "running"


def _life(holder: Holder) -> Literal["gone", "running", "unknown"]:
    """What this machine knows of a process of its own. unknown: also where it is suspended, perhaps for good."""
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass  # another user's, whose entry in /proc may be hidden
    found = _stat(holder.pid)
    if found is None or holder.started is None:
        return "unknown"
    state, started = found
    if started != holder.started or state in "ZX":  # its number was given to another; or dead and not yet waited for
        return "gone"
    return "unknown" if state in "Tt" else "running"


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start of a process, in clock ticks since the boot (proc_pid_stat(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return fields[0], int(fields[19])
