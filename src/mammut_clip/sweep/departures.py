"""Jobs that have left the queue: what their supervisors could not note any more is noted in the runs' ends.jsonl."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mammut_clip.runs.adjustments import with_micro_batch
from mammut_clip.runs.ends import End, EndKind, append_end
from mammut_clip.slurm.accounting import AccountedJob, read_accounting
from mammut_clip.slurm.ends import how_job_ended, is_noted
from mammut_clip.slurm.queue import QueuedJob
from mammut_clip.slurm.record import JobRecord, TaskRecord
from mammut_clip.slurm.task import SubmittedJob
from mammut_clip.sweep.evaluations import evaluation_id
from mammut_clip.sweep.journal import Journal, Submission
from mammut_clip.sweep.stored import Launched

STRAY_SECONDS = 60.0
"""How long after a launcher was killed an sbatch that it had started may still reach Slurm."""
_WORDS: dict[EndKind, str] = {
    "lost": "its job left the queue without a word",
    "crash": "its job's supervisor was killed or has failed; the job's log may say why",
}


@dataclass(frozen=True)
class _Departed:
    """A job that Slurm has no more."""

    job: SubmittedJob
    record: JobRecord | None
    queued: QueuedJob | None


def settle(launched: Launched, journal: Journal, queue: Mapping[str, QueuedJob]) -> None:
    """Note the end of every job that has left the queue, and find the jobs of submissions that nobody saw answered.

    `queue` was asked after the journal was read.
    """
    for submission in journal.unanswered:
        _find(launched, journal, submission, queue)
    departed = []
    for job in list(journal.jobs.values()):
        queued, record = queue.get(job.id), JobRecord.read(Path(job.record))
        if queued is None or queued.is_over or (record is not None and record.ended):
            departed.append(_Departed(job, record, queued))
    unclear = [one.job.id for one in departed if one.record is None or not one.record.ended]
    accounted = (read_accounting(unclear) or {}) if unclear else {}
    for one in departed:
        _note_ends(launched, journal, one, accounted.get(one.job.id))
    journal.left([one.job.id for one in departed])


def _find(launched: Launched, journal: Journal, submission: Submission, queue: Mapping[str, QueuedJob]) -> None:
    """What became of a submission whose launcher did not live to see it, by its name in the queue and its folder."""
    folder = launched.folder.launch_folder / "jobs" / str(submission.number)  # as slurm.submit has it
    ids = [job.id for job in queue.values() if job.name == submission.name]
    for index in range(len(submission.tasks)):
        record = JobRecord.read(folder / f"{index}.json")
        ids += [record.job] if record is not None else []
    if ids:
        base = ids[0].partition("_")[0]
        journal.taken(submission.number, _jobs(folder, submission, base, is_array="_" in ids[0]))
    elif time.time() - submission.at > STRAY_SECONDS:
        journal.refused(submission.number, "its launcher ended, and Slurm has no job of this name")


def _jobs(folder: Path, submission: Submission, base: str, is_array: bool) -> list[SubmittedJob]:
    return [
        SubmittedJob(
            f"{base}_{index}" if is_array else base,
            submission.name,
            str(folder / f"{index}.json"),
            str(folder / f"{index}.log"),
            tasks,
        )
        for index, tasks in enumerate(submission.tasks)
    ]


def _note_ends(launched: Launched, journal: Journal, gone: _Departed, accounted: AccountedJob | None) -> None:
    kind = how_job_ended(gone.record, gone.queued, accounted, log_exists=_log_exists(Path(gone.job.log)))
    by_us = gone.job.id in journal.withdrawn
    if gone.record is None:
        if not by_us:
            for task_id in gone.job.task_ids:
                error = None if kind == "cancelled" else _why_never(gone, accounted)
                end = End(kind=kind, job=gone.job.id, error=error, log=gone.job.log)
                _append(launched, task_id, end)
        return
    begun = [task for task in gone.record.tasks if not task.ended]
    for task in begun:
        _append(launched, task.task, _end(launched, gone, gone.record, task, "paused" if by_us else kind))
    if kind == "cancelled" and not by_us and not gone.record.ended:
        # What the user cancelled with the job, though the job had not come to it, is left alone as well.
        known = {task.task for task in gone.record.tasks}
        for task_id in gone.job.task_ids:
            if task_id not in known:
                _append(launched, task_id, End(kind="cancelled", job=gone.job.id, log=gone.job.log))


def _end(launched: Launched, gone: _Departed, record: JobRecord, task: TaskRecord, kind: EndKind) -> End:
    """The end of a task that its supervisor began, and was killed before it could note."""
    run_id, work = work_of(launched, task.task)
    run = launched.run(run_id)
    status, checkpoints = run.status, run.checkpoints
    end = End(
        kind=kind,
        work=work,
        job=gone.job.id,
        restart=task.restart,
        attempt=status.attempts if work == "train" else None,
        samples_before=task.samples_before,
        samples_after=checkpoints[-1].samples_seen if checkpoints else 0,
        error=_WORDS.get(kind),
        nodes=task.nodes or record.nodes,
        log=gone.job.log,
        began=task.began,
    )
    return with_micro_batch(end, run, launched.entries[run_id].processes)


def _append(launched: Launched, task_id: str, end: End) -> None:
    run_id, work = work_of(launched, task_id)
    ends_file, end = launched.run(run_id).ends_file, end.model_copy(update={"work": work})
    if not is_noted(ends_file, end):  # by the job, or a launcher, that was killed right after
        append_end(ends_file, end)


def work_of(launched: Launched, task_id: str) -> tuple[str, str]:
    """The run of a task, and what it does for it: train or evaluate."""
    if task_id in launched.entries:
        return task_id, "train"
    return task_id.removesuffix(evaluation_id("")), "evaluate"


def _log_exists(log: Path) -> bool | None:
    """None where that says nothing: it could not have been written."""
    return log.exists() if os.access(log.parent, os.W_OK) else None


def _why_never(gone: _Departed, accounted: AccountedJob | None) -> str:
    """What is known of a job that was gone before it began anything."""
    log = Path(gone.job.log)
    if not log.exists():
        writable = os.access(log.parent, os.W_OK)
        where = "its log was never written" if writable else f"its log folder {log.parent} cannot be written"
    else:
        where = f"its log {log} may say why"
    slurm = gone.queued or accounted
    said = "" if slurm is None else f" (Slurm: {slurm.state}, exit code {slurm.exit_code})"
    return f"its job left the queue before it began{said}; {where}"
