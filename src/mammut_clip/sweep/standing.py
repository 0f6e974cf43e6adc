"""Where the runs of a sweep stand, from their directories alone: what is finished, given up, or due now."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from mammut_clip.runs.ends import End, read_ends
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.lease import is_leased
from mammut_clip.runs.lease_files import newest
from mammut_clip.slurm.policy import decide
from mammut_clip.slurm.task import Task
from mammut_clip.sweep.evaluations import due_evaluations, ends_that_count, evaluated, evaluation_id
from mammut_clip.sweep.progress import RunningRun, last_row
from mammut_clip.sweep.stored import Launched, StoredRun


@dataclass(frozen=True)
class FailedRun:
    """A run, or the evaluation of one, that is not tried again by itself."""

    id: str
    """Of the task: the run's name, for an evaluation with `.eval`."""
    error: str
    """Why it was given up, and what its last attempt ended with."""
    log: str
    """Path of the log of its last job."""


@dataclass
class Standing:
    """The runs at one moment; dropped ones are left out unless they are finished."""

    finished: list[str] = field(default_factory=list)
    failed: list[FailedRun] = field(default_factory=list)
    """Given up by policy; `sweep retry` tries them again."""
    cancelled: list[str] = field(default_factory=list)
    """Left alone because the user said so."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Run -> why it is not started now, such as the wait after a crash."""
    elsewhere: list[str] = field(default_factory=list)
    """Trained by a process that is in none of the sweep's jobs."""
    due: list[Task] = field(default_factory=list)
    """What may be started now."""
    node_failures: list[End] = field(default_factory=list)
    """Ends of kind node_failure, of all runs."""
    ended: int = 0
    """How often a run or an evaluation has ended so far: grows with each that does."""
    samples: dict[str, int] = field(default_factory=dict)
    """Run -> samples seen; dropped ones are left out."""
    running: list[RunningRun] = field(default_factory=list)
    """Those that are in a job and say that they run."""


def look(launched: Launched, busy: Collection[str], *, patient: bool = True) -> Standing:
    """Read it. `busy`: ids of tasks that are in jobs. `patient`: heed the wait after a crash; a launcher that looks
    once does not, since nobody would come back when it is over."""
    standing = Standing()
    for entry in launched.stored.runs:
        run = launched.run(entry.id)
        status, ends = run.status, read_ends(run.ends_file) if run.ends_file.exists() else []
        samples = status.samples_seen
        standing.node_failures += [end for end in ends if end.kind == "node_failure"]
        standing.ended += len(ends)
        if status.state == "finished":
            standing.finished.append(entry.id)
            standing.ended += 1
            samples = entry.total_samples
        elif entry.id in busy and status.state == "running":
            row = last_row(run.metrics_file)
            samples = max(samples, int(row.get("samples_seen", 0)))
            standing.running.append(RunningRun(entry.id, samples, entry.total_samples, row.get("loss")))
        elif entry.id not in busy and not entry.dropped:
            _judge(standing, launched, entry, ends, samples, patient)
        if not entry.dropped:
            standing.samples[entry.id] = samples
            _judge_evaluation(standing, launched, entry, ends, busy)
    standing.due += due_evaluations(launched, busy)
    return standing


def training_ends(ends: list[End]) -> list[End]:
    """Those that say whether a run which is not finished is tried again; the user's word to retry is for all work.

    That it is finished says its status alone: an end that says so was of a status that has been removed since.
    """
    return [end for end in ends if (end.work == "train" and end.kind != "done") or end.kind == "retry"]


def training(launched: Launched, entry: StoredRun, samples_seen: int = 0) -> Task:
    """The task that trains a run to its end."""
    left = max(0.0, 1 - samples_seen / entry.total_samples)
    run = str(launched.run(entry.id).path)
    arguments = (*launched.stored.trainer, run)
    return Task(entry.id, "train", run, arguments, entry.processes, entry.seconds * left)


def _judge(
    standing: Standing, launched: Launched, entry: StoredRun, ends: list[End], samples_seen: int, patient: bool
) -> None:
    run, policy = launched.run(entry.id), launched.stored.policy
    counting = training_ends(ends)
    decision = decide(counting, policy)
    if decision.action == "leave":
        standing.cancelled.append(entry.id)
    elif decision.action == "give_up":
        standing.failed.append(_failed(entry.id, counting, decision.why))
    elif patient and decision.not_before > time.time():
        wait = decision.not_before - time.time()
        standing.waiting[entry.id] = f"{decision.why or 'it failed'}; next try in {wait:.0f} s"
    elif _is_elsewhere(run, ends):
        standing.elsewhere.append(entry.id)
    else:
        standing.due.append(training(launched, entry, samples_seen))


def _judge_evaluation(
    standing: Standing, launched: Launched, entry: StoredRun, ends: list[End], busy: Collection[str]
) -> None:
    """Of evaluations that have failed before: whether one waits for its next try, or is given up."""
    run, task_id = launched.run(entry.id), evaluation_id(entry.id)
    if task_id in busy or not any(end.work == "evaluate" for end in ends):
        return
    found = evaluated(run, entry.total_samples, launched.stored)
    counting = ends_that_count(run, found.missing, ends) if found.missing else []
    if not counting:
        return
    decision = decide(counting, launched.stored.policy)
    if decision.action == "give_up":
        standing.failed.append(_failed(task_id, counting, decision.why))
    elif decision.action == "start" and decision.not_before > time.time():
        standing.waiting[task_id] = f"{decision.why}; next try in {decision.not_before - time.time():.0f} s"


def _is_elsewhere(run: RunDir, ends: list[End]) -> bool:
    """Whether some process trains the run of which our jobs know nothing. A lease that was renewed last before our own
    job ended is that job's, and runs out by itself: the next trainer waits for it."""
    if not is_leased(run.lock_file):
        return False
    found = newest(run.lock_file)
    ours = found is None or found.holder is None or found.holder.slurm_job is not None
    return not (ours and found is not None and ends and found.written <= ends[-1].ended)


def _failed(run_id: str, ends: list[End], why: str) -> FailedRun:
    error = next((end.error for end in reversed(ends) if end.error), None)
    log = next((end.log for end in reversed(ends) if end.log), None)
    return FailedRun(run_id, f"{why}: {error}" if error and error not in why else why, log or "")
