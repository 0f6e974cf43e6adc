"""Whether a run that says it is running gives signs of life: one look at its lease, which changes nothing."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from mammut_clip.runs.ends import End
from mammut_clip.runs.holder import Holder, is_gone, is_running_here
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.lease_files import LeaseFile, newest


@dataclass(frozen=True)
class Heartbeat:
    """Of the process that holds a run's lease, or held it when it was last heard of."""

    at: float
    """Unix time of its last sign of life, by the file system's clock."""
    is_silent: bool
    """Whether that is longer ago than its lease: its node is gone or cut off, or the process is suspended."""
    holder: str
    """Who it is."""
    job: str | None
    """Slurm's id of its job."""


def heartbeat(run: RunDir, ends: Sequence[End], seen_by: Holder) -> Heartbeat | None:
    """The heartbeat of a run; None where nobody trains it, or its holder is known to be dead.

    `ends`: how its attempts ended; a later end than the last sign of life says that the holder is gone.
    """
    try:
        found = newest(run.lock_file)
    except OSError:
        return None
    if found is None or _is_over(found, ends, seen_by):
        return None
    holder = found.holder
    alive = holder is not None and is_running_here(holder)
    silent = not alive and time.time() - found.written > found.lease_seconds
    name, job = ("another process", None) if holder is None else (str(holder), holder.slurm_job)
    return Heartbeat(found.written, silent, name, job)


def _is_over(found: LeaseFile, ends: Sequence[End], seen_by: Holder) -> bool:
    if found.holder is not None and (found.holder.state == "free" or is_gone(found.holder, seen_by)):
        return True
    return bool(ends) and ends[-1].ended > found.written
