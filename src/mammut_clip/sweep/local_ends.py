"""How the tasks of a job on this machine ended, by what their runs' own files say."""

import signal
import time
from pathlib import Path
from typing import Any

from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.runs.adjustments import make_micro_batch_smaller, with_micro_batch
from mammut_clip.runs.ends import End, EndKind, append_end, read_ends
from mammut_clip.runs.failures import LastWords, take_last_words
from mammut_clip.runs.lease import is_leased
from mammut_clip.slurm.local import LocalJob
from mammut_clip.sweep.local_record import NAME, LocalRecord, LocalTask, count_results, newest_checkpoint


def settle(job: LocalJob, record: LocalRecord, policy: SweepPolicy, *, stopped: bool) -> set[str]:
    """Note in the runs' ends.jsonl how a job's tasks ended; those that it did not come to have no end.

    Where several trainings share a process that ended before it came to any of them, nobody knows which of them is
    to blame: these are returned, to be tried each by itself. `stopped`: whether this launcher told the job to stop.
    """
    words, command = take_last_words(words_of(job.record)), job.ended
    tasks, unclear, stopped = record.tasks, set[str](), stopped or job.was_stopped
    if len(tasks) > 1 and not stopped and not any(task.has_started or task.is_finished for task in tasks):
        unclear, tasks = {task.id for task in tasks}, []
    for task in tasks:
        end = _end(task, command, words, alone=len(tasks) == 1, stopped=stopped)
        if end is not None:
            _note(task, end.model_copy(update={"log": str(job.log)}))
            _adjust(task, end, policy)
    record.settled = True
    record.write(job.record.parent / NAME)
    return unclear


def _note(task: LocalTask, end: End) -> None:
    """Unless a launcher has, which was stopped before it had noted all of the job."""
    noted = read_ends(task.run_dir.ends_file, end.work)
    if all(there.log != end.log for there in noted):  # each job has a log of its own
        append_end(task.run_dir.ends_file, end)


def words_of(record: Path) -> Path:
    """Where the processes of a job leave their last words (runs.failures)."""
    return record.parent / "last-words"


def _end(
    task: LocalTask, command: dict[str, Any] | None, words: list[LastWords], *, alone: bool, stopped: bool
) -> End | None:
    """How a task ended; None where it has not: it was not begun, was stopped in good order, or goes on elsewhere.

    `command`: the job's record of its command; None where that did not end before the job did. `alone`: whether the
    task had the job for itself.
    """
    found = _evaluated(task, command, words, stopped) if task.kind == "evaluate" else None
    if task.kind == "train":
        found = _trained(task, command, words, stopped=stopped, alone=alone)
    if found is None:
        return None
    kind, error = found
    run, status = task.run_dir, task.run_dir.status
    # Of those that share a process, it ended under the one that says it is running.
    code = command["exit_code"] if command is not None and (alone or status.state == "running") else None
    ended = time.time() if command is None else command["began"] + command["seconds"]
    end = End(
        kind=kind,
        work=task.kind,
        attempt=status.attempts if task.kind == "train" and task.has_started else None,
        samples_before=task.samples_before if task.kind == "train" else 0,
        samples_after=newest_checkpoint(run) if task.kind == "train" else 0,
        results=max(0, count_results(run) - task.results_before) if task.kind == "evaluate" else 0,
        exit_code=None if code is None else _shell_code(code),
        error=error,
        began=None if command is None or not alone else command["began"],
        ended=ended,
    )
    return with_micro_batch(end, run, task.processes)


def _trained(
    task: LocalTask, command: dict[str, Any] | None, words: list[LastWords], *, stopped: bool, alone: bool
) -> tuple[EndKind, str | None] | None:
    status = task.run_dir.status
    if status.state == "finished":
        return "done", None
    if is_leased(task.run_dir.lock_file) or any(one.kind == "locked" for one in words):
        return None  # another process trains it
    if task.has_started and status.state == "failed":
        return status.error_kind or "crash", status.last_error or "no reason was recorded"
    if stopped or (not task.has_started and not alone):
        return None
    if task.has_started and status.state == "interrupted":
        return "requeued", "stopped by a signal that is not this launcher's"
    own = _named(words)
    if own is not None:
        return own
    if command is None:
        return ("lost", "its job was gone") if task.has_started else ("never_began", "its job was gone before it began")
    return ("crash" if task.has_started else "never_began"), _how(command)


def _evaluated(
    task: LocalTask, command: dict[str, Any] | None, words: list[LastWords], stopped: bool
) -> tuple[EndKind, str | None] | None:
    if stopped and (command is None or command["exit_code"] != 0):
        return None
    if command is None:
        return "lost", "its job was gone"
    if command["exit_code"] == 0:
        return "done", None
    return _named(words) or ("crash", _how(command))


def _named(words: list[LastWords]) -> tuple[EndKind, str] | None:
    """The error by which a process ended, in its own words."""
    return next(((one.kind, one.error) for one in words if one.kind != "locked"), None)


def _adjust(task: LocalTask, end: End, policy: SweepPolicy) -> None:
    """After out-of-memory the next start takes fewer pairs at a time, if policy allows."""
    if end.kind == "out_of_memory" and end.work == "train" and policy.smaller_micro_batch:
        make_micro_batch_smaller(task.run_dir, task.processes, end.error or end.kind, end.ended)


def _how(command: dict[str, Any]) -> str:
    code = command["exit_code"]
    if code == -signal.SIGKILL:
        return "its process was killed, perhaps for want of memory"
    return f"its process ended with exit code {_shell_code(code)}"


def _shell_code(code: int) -> int:
    """128 + n for signal n."""
    return 128 - code if code < 0 else code
