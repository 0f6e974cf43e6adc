"""What Slurm's accounting has kept of jobs: one sacct for those that left the queue, where there is accounting at all.

Measured on Slurm 22.05 with slurmdbd: about 90 ms a call. Records arrive a moment late, so that an id may be missing
that a later call knows. Each time a job is queued again leaves a record with the state that it was in then (REQUEUED,
PREEMPTED, NODE_FAIL). Elements of an array that have not begun share a record, `25_[0-1,3]`, which no id here means;
one that was cancelled before it began has none. The name in a record can be wrong for very short jobs and is not read.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from mammut_clip.slurm.ask import ask, in_batches
from mammut_clip.slurm.states import FINAL

_FIELDS = ("JobID", "DBIndex", "State", "ExitCode", "Start", "End", "NodeList")
_EXIT_CODE = re.compile(r"(\d+):(\d+)")
_NO_NODES = "None assigned"


@dataclass(frozen=True)
class AccountedJob:
    """The newest record of a job."""

    id: str
    """`123`, or `123_4`."""
    state: str
    """Slurm's state, without who cancelled it: CANCELLED, TIMEOUT, ..."""
    cancelled_by: int | None = None
    """Number of the user who cancelled it."""
    exit_code: int | None = None
    """Of its batch script, 128 + n for signal n; null while it runs. 0 says nothing where the time limit ended it."""
    nodes: str = ""
    """Slurm's list of its nodes; empty where it had none."""
    began: float | None = None
    """Unix time, seconds; null where it never did."""
    ended: float | None = None
    """Unix time, seconds; null while it has not."""
    history: tuple[str, ...] = ()
    """States of its earlier records, oldest first: what had it queued again."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in FINAL


def read_accounting(ids: Iterable[str], *, since: float | None = None) -> dict[str, AccountedJob] | None:
    """Job id -> what is kept of it; ids of which nothing is known (yet) are absent.

    `since` (Unix time) leaves out records that ended before, as of a job that had the same id years ago. None where
    there is no accounting, or where it did not answer within 30 s. Never raises. One call of sacct for 5,000 ids.
    """
    found: dict[str, AccountedJob] = {}
    start = [] if since is None else [f"--starttime={datetime.fromtimestamp(since):%Y-%m-%dT%H:%M:%S}"]
    for batch in in_batches(ids):
        answer = ask(
            [
                "sacct",
                "--allocations",
                "--duplicates",
                "--noheader",
                "--parsable2",
                *start,
                "--format=" + ",".join(_FIELDS),
                "--jobs=" + ",".join(batch),
            ]
        )
        if not answer.ok:
            return None
        found |= parse_accounting(answer.text)
    return found


def parse_accounting(text: str) -> dict[str, AccountedJob]:
    """sacct's lines as jobs: of several records of one id the newest, the states of the others as its history."""
    records = []
    for line in text.splitlines():
        fields = line.split("|", len(_FIELDS) - 1)
        if len(fields) == len(_FIELDS) and fields[1].isdigit() and "[" not in fields[0]:
            records.append((int(fields[1]), _record(fields)))
    jobs: dict[str, AccountedJob] = {}
    for _, job in sorted(records, key=lambda record: record[0]):
        before = jobs.get(job.id)
        jobs[job.id] = job if before is None else replace(job, history=(*before.history, before.state))
    return jobs


def _record(fields: list[str]) -> AccountedJob:
    job_id, _, words, code, start, end, nodes = fields
    state, _, by = words.partition(" by ")
    ended = _unix_time(end)
    return AccountedJob(
        id=job_id,
        state=state,
        cancelled_by=int(by) if by.isdigit() else None,
        exit_code=None if ended is None else _exit_code(code),
        nodes="" if nodes == _NO_NODES else nodes,
        # A job that was cancelled while it waited has the time of that as its start.
        began=None if nodes == _NO_NODES else _unix_time(start),
        ended=ended,
    )


def _exit_code(text: str) -> int | None:
    """sacct's `code:signal`."""
    found = _EXIT_CODE.fullmatch(text)
    if found is None:
        return None
    code, signal = int(found[1]), int(found[2])
    return 128 + signal if signal else code


def _unix_time(text: str) -> float | None:
    """A time of sacct's, in this machine's time zone; None for Unknown and None."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
