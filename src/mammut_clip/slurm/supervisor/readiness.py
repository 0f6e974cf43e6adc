"""Whether a task may begin now: what its run's ends, its lease and the user say to it."""

import time
from dataclasses import dataclass

from mammut_clip.config.atomic import DiskFullError
from mammut_clip.config.errors import InputError
from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.runs.adjustments import KEY, make_micro_batch_smaller
from mammut_clip.runs.ends import End
from mammut_clip.runs.lease import LEASE_SECONDS, is_leased
from mammut_clip.slurm.policy import Decision, decide
from mammut_clip.slurm.supervisor.notes import Notes
from mammut_clip.slurm.supervisor.wishes import Wishes
from mammut_clip.slurm.task import Task

_LOOK_AGAIN_SECONDS = 5.0
PATIENCE_SECONDS = 3 * LEASE_SECONDS
"""How long a job waits for a run that another process is writing, when it has nothing else to do."""


@dataclass(frozen=True)
class Ready:
    """It may begin now."""

    why: str


@dataclass(frozen=True)
class Later:
    """It may not begin yet."""

    at: float
    """Unix time to look again."""
    why: str


@dataclass(frozen=True)
class Over:
    """It does not begin in this job."""

    done: bool
    why: str


def readiness(task: Task, notes: Notes, policy: SweepPolicy, wishes: Wishes, waited: float) -> Ready | Later | Over:
    """Whether a task may begin. `waited`: seconds that the job has had nothing to do but wait for it.

    A run that was out of memory gets its smaller micro-batch here.
    """
    run = task.run_dir
    if task.kind == "train" and run.status.state == "finished":
        return Over(True, "finished")
    if run.name in wishes.cancelled:
        return Over(False, "cancelled by the user")
    ends = notes.ends_of(task)
    decision = decide(ends, policy)
    if decision.action != "start":
        return Over(False, decision.why)
    if decision.not_before > time.time():
        return Later(decision.not_before, f"{decision.why}; in {decision.not_before - time.time():.0f} s")
    if task.kind == "train":
        taken = _taken(task, waited)
        if taken is not None:
            return taken
        if decision.smaller_micro_batch:
            return _smaller(task, ends[-1], decision)
    return Ready(decision.why)


def _taken(task: Task, waited: float) -> Later | Over | None:
    """Where another process seems to be writing the run. (The trainer makes sure of it once more.)"""
    try:
        if not is_leased(task.run_dir.lock_file):
            return None
        why = "another process is writing the run"
    except InputError as error:
        why = str(error)
    if waited > PATIENCE_SECONDS:
        return Over(False, f"{why}; given up in this job after {waited:.0f} s")
    return Later(time.time() + _LOOK_AGAIN_SECONDS, why)


def _smaller(task: Task, last: End, decision: Decision) -> Ready | Later:
    try:
        size = make_micro_batch_smaller(task.run_dir, task.processes, f"out of memory: {last.error}", last.ended)
    except DiskFullError as error:
        return Later(time.time() + _LOOK_AGAIN_SECONDS, str(error))
    except InputError as error:  # the trainer will say it too
        return Ready(f"{decision.why}; {KEY} stays as it is: {error}")
    return Ready(f"{decision.why}; {KEY} is {size or 1} now")
