"""How a job ended, from what it noted itself, what the queue still shows and what the accounting kept."""

from collections.abc import Mapping
from pathlib import Path

from mammut_clip.runs.ends import End, EndKind, read_ends
from mammut_clip.slurm.accounting import AccountedJob
from mammut_clip.slurm.queue import QueuedJob
from mammut_clip.slurm.record import JobRecord
from mammut_clip.slurm.states import FINAL

_BY_STATE: Mapping[str, EndKind] = {
    "BOOT_FAIL": "node_failure",
    "CANCELLED": "cancelled",
    "DEADLINE": "time_limit",
    "NODE_FAIL": "node_failure",
    "OUT_OF_MEMORY": "out_of_memory",
    "PREEMPTED": "preempted",
    "TIMEOUT": "time_limit",
}
"""States that say it all. COMPLETED and FAILED do not: they tell how the batch script came to its end, no more."""

_BY_EARLIER_STATE: Mapping[str, EndKind] = {
    "BOOT_FAIL": "node_failure",
    "NODE_FAIL": "node_failure",
    "PREEMPTED": "preempted",
    "TIMEOUT": "time_limit",
}
"""States of records that a job leaves in the accounting when it is queued again; others are REQUEUED and the like."""


def how_job_ended(
    record: JobRecord | None,
    queued: QueuedJob | None,
    accounted: AccountedJob | None,
    *,
    log_exists: bool | None = None,
) -> EndKind:
    """What ended a job, or the latest restart of one that has been queued again. Each argument may be missing.

    `log_exists`: whether the file is there that Slurm opens when it starts the batch script; None where that says
    nothing, as its folder could not be written.

    The first line that holds decides:

    1. its record says that it ended in order        done (how its tasks ended, their own ends say)
    2. it is in the queue, and not over              what had it queued again: see below
    3. the queue, or else the accounting, has its    CANCELLED cancelled, TIMEOUT and DEADLINE time_limit, PREEMPTED
       final state                                   preempted, NODE_FAIL and BOOT_FAIL node_failure, OUT_OF_MEMORY
                                                     out_of_memory; FAILED and COMPLETED say less: next lines
    4. it has no record                              never_began; but cancelled where neither queue nor accounting know
                                                     of it and no log was opened: Slurm forgets an element of an array
                                                     that is cancelled while it waits at once, and no other job
    5. its record says that it was told to stop      SIGTERM cancelled (what is queued again would be in the queue),
                                                     any other signal time_limit, which it could not queue itself after
    6. its state is FAILED                           crash: its supervisor was killed, or has failed
    7. anything else                                 lost

    A job that is queued again: the accounting tells PREEMPTED and NODE_FAIL. Where it says REQUEUED or nothing, a
    signal other than SIGTERM means time_limit, after which the job queued itself again; SIGTERM requeued, by somebody.
    No signal and no word of the accounting: its node went away under it, or nothing could be noted any more.
    """
    if record is not None and record.ended:
        return "done"
    if queued is not None and not queued.is_over:
        return _why_queued_again(record, accounted)
    state = _final_state(queued, accounted)
    if state in _BY_STATE:
        return _BY_STATE[state]
    if record is None:
        forgotten = queued is None and accounted is None and log_exists is False
        return "cancelled" if forgotten else "never_began"
    if record.told_to_stop is not None:
        return "cancelled" if record.told_to_stop == "SIGTERM" else "time_limit"
    return "crash" if state == "FAILED" else "lost"


def is_noted(ends_file: Path, end: End) -> bool:
    """Whether somebody has noted the end of this attempt before, of whatever kind: the one who did may have been killed
    before that was written down elsewhere."""
    return any(_attempt(there) == _attempt(end) for there in read_ends(ends_file))


def _attempt(end: End) -> tuple[str, str | None, int, float | None]:
    return end.work, end.job, end.restart, end.began


def _final_state(queued: QueuedJob | None, accounted: AccountedJob | None) -> str:
    """The queue's word is newer: records arrive late."""
    for job in (queued, accounted):
        if job is not None and job.state in FINAL:
            return job.state
    return ""


def _why_queued_again(record: JobRecord | None, accounted: AccountedJob | None) -> EndKind:
    if record is None:
        return "never_began"
    states = () if accounted is None else (*accounted.history, accounted.state)
    state = states[record.restart] if record.restart < len(states) else ""
    if state in _BY_EARLIER_STATE:
        return _BY_EARLIER_STATE[state]
    if record.told_to_stop is not None:
        return "requeued" if record.told_to_stop == "SIGTERM" else "time_limit"
    return "requeued" if state.startswith("REQUEUE") else "node_failure"
