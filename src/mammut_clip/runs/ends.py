"""ends.jsonl of a run: how each of its attempts ended, for those who decide whether another follows.

One line per end, appended by the job that ran the attempt or, where that could not, by the launcher that found it gone;
and one for each word of the user's: cancelled, and another try.
"""

import time
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from mammut_clip.config.atomic import append_line
from mammut_clip.runs.records import Record

EndKind = Literal[
    "done",
    "time_limit",
    "preempted",
    "requeued",
    "node_failure",
    "out_of_memory",
    "disk_full",
    "crash",
    "bad_input",
    "hung",
    "never_began",
    "lost",
    "cancelled",
    "paused",
    "retry",
]
"""done: nothing is left to do. time_limit: the job's. preempted, requeued: by Slurm or a person, the job is queued
again. node_failure: a node went away under it. out_of_memory, disk_full: as its processes said. crash: any other error.
bad_input: an error that another try would meet again. hung: no heartbeat. never_began: the job was gone before it ran
anything. lost: gone without a word, nobody knows why. cancelled: by the user, and to be left alone. paused: told by the
user to end in good order, with the whole sweep, or because the run was cancelled. retry: the user asks for another try;
what was before does not count."""

ENDED_BY_OTHERS: frozenset[EndKind] = frozenset({"time_limit", "preempted", "requeued", "node_failure", "lost"})
"""Ends that the run itself has no part in."""


class End(Record):
    """How one attempt at a run, or at its evaluation, ended."""

    kind: EndKind
    """What ended it."""
    work: str = "train"
    """train, or evaluate."""
    job: str | None = None
    """Slurm's job id, `123` or `123_4`; null for a process of this machine, or a word of the user's."""
    restart: int = 0
    """How often that job had been queued again."""
    attempt: int | None = None
    """As in status.json; null where the trainer did not come to it."""
    samples_before: int = 0
    """Samples seen at the newest checkpoint when it began."""
    samples_after: int = 0
    """The same when it ended."""
    results: int = 0
    """evaluate: how many results it added."""
    micro_batch: int | None = None
    """out_of_memory: pairs that each process of the training took at a time; null where nobody knows."""
    exit_code: int | None = None
    """Of the process; null where nobody saw it end. 128 + n for signal n."""
    error: str | None = None
    """The last error, in one line."""
    nodes: str = ""
    """Slurm's list of the nodes it ran on, such as n[1-2]."""
    log: str | None = None
    """Where its processes wrote."""
    began: float | None = None
    """Unix time, seconds; null where unknown."""
    ended: float = Field(default_factory=time.time)
    """Unix time, seconds."""

    @property
    def advanced(self) -> bool:
        """Whether it left more than it found: a newer checkpoint, or results."""
        return self.samples_after > self.samples_before or self.results > 0


def append_end(path: Path, end: End) -> None:
    """Add a line to ends.jsonl. Raises DiskFullError or OSError."""
    line = end.model_dump_json(exclude_defaults=True, exclude={"kind", "ended"})
    head = f'{{"kind":"{end.kind}","ended":{int(end.ended * 1000) / 1000}'
    append_line(path, head + ("}" if line == "{}" else "," + line[1:]))


def read_ends(path: Path, work: str | None = None) -> list[End]:
    """The ends of a run, earliest first, all or those of one kind of work; lines that are cut off are left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    ends = []
    for line in text.split("\n"):  # an error may hold what else counts as the end of a line
        try:
            end = End.model_validate_json(line)
        except ValidationError:
            continue
        if work in (None, end.work):
            ends.append(end)
    return ends
