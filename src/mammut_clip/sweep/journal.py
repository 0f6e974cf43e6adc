"""launch/journal.jsonl: what the launcher has asked of Slurm, one line before each submission and one after.

Lines are appended and flushed to the disk; none is ever changed. A launcher that is killed between the two lines of a
submission leaves its name: whoever comes next looks for it in the queue before anything of it is submitted again.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mammut_clip.config.atomic import append_line
from mammut_clip.config.errors import InputError
from mammut_clip.runs.layout import SweepDir
from mammut_clip.slurm.task import SubmittedJob


@dataclass
class Submission:
    """One sbatch: a job, or an array of them."""

    number: int
    """Counted within the sweep, from 1."""
    name: str
    """In the queue (slurm.names.job_name)."""
    at: float
    """Unix time at which it was asked for."""
    tasks: tuple[tuple[str, ...], ...]
    """For each job, the ids of its tasks."""
    exclude: frozenset[str] = frozenset()
    """Nodes that its jobs must not get because they failed."""
    answer: str = ""
    """`taken`, `refused`, or nothing while nobody knows."""


@dataclass
class Journal:
    """The journal of a sweep, read whole, and added to."""

    file: Path
    submissions: dict[int, Submission] = field(default_factory=dict)
    """By number, earliest first."""
    jobs: dict[str, SubmittedJob] = field(default_factory=dict)
    """Id -> job, of all jobs that Slurm took and that are not known to have left it."""
    withdrawn: set[str] = field(default_factory=set)
    """Ids of jobs that we cancelled, so that nobody takes that for the user's word."""
    released: set[str] = field(default_factory=set)
    """Ids of held jobs that we released; each once."""
    excluded: dict[str, frozenset[str]] = field(default_factory=dict)
    """Id of a job -> the failed nodes that it was told not to take."""

    @classmethod
    def open(cls, sweep: SweepDir) -> "Journal":
        """Read it; empty where there is none. Lines that are cut off or not ours are left out.

        Raises InputError where it is another user's: in whose queue its jobs are, and not in ours.
        """
        journal = cls(sweep.launch_folder / "journal.jsonl")
        if journal.file.exists() and not os.access(journal.file, os.W_OK, effective_ids=True):
            raise InputError(f"{journal.file}: cannot be written: its owner alone can look after this sweep's jobs")
        for event in _lines(journal.file):
            with suppress(KeyError):  # of a submission whose own line was lost
                journal._apply(event)
        return journal

    @property
    def unanswered(self) -> list[Submission]:
        """Submissions of which nobody knows whether Slurm took them."""
        return [submission for submission in self.submissions.values() if not submission.answer]

    @property
    def busy(self) -> set[str]:
        """Ids of the tasks that are in a job, or may be."""
        taken = {task for job in self.jobs.values() for task in job.task_ids}
        return taken | {task for one in self.unanswered for tasks in one.tasks for task in tasks}

    @property
    def next_number(self) -> int:
        return 1 + max(self.submissions, default=0)

    def begin(self, number: int, name: str, tasks: Sequence[Sequence[str]], exclude: Iterable[str] = ()) -> None:
        """Note that a submission is about to be made."""
        event = {"event": "submitting", "number": number, "name": name, "at": time.time(), "tasks": tasks}
        self._add(event | {"exclude": sorted(exclude)})

    def taken(self, number: int, jobs: Sequence[SubmittedJob]) -> None:
        """Note the jobs that it became."""
        rows = [[job.id, job.record, job.log, job.task_ids] for job in jobs]
        self._add({"event": "taken", "number": number, "jobs": rows})

    def refused(self, number: int, error: str) -> None:
        """Note that there are no jobs of it, and never will be."""
        self._add({"event": "refused", "number": number, "error": error})

    def left(self, ids: Sequence[str]) -> None:
        """Note that these jobs have left the queue, after what came of their tasks has been noted."""
        if ids:
            self._add({"event": "left", "jobs": ids})

    def withdraw(self, ids: Sequence[str]) -> None:
        """Note that we are about to cancel these jobs."""
        if ids:
            self._add({"event": "withdrawn", "jobs": ids})

    def release(self, ids: Sequence[str]) -> None:
        """Note that we have released these held jobs."""
        if ids:
            self._add({"event": "released", "jobs": ids})

    def exclude(self, ids: Sequence[str], nodes: Iterable[str]) -> None:
        """Note that these jobs are kept from all these nodes."""
        self._add({"event": "excluded", "jobs": ids, "nodes": sorted(nodes)})

    def _add(self, event: dict[str, Any]) -> None:
        _append(self.file, json.dumps(event, ensure_ascii=False, separators=(",", ":")))
        self._apply(event)

    def _apply(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "submitting":
            tasks = tuple(tuple(ids) for ids in event["tasks"])
            number, exclude = event["number"], frozenset(event["exclude"])
            self.submissions[number] = Submission(number, event["name"], event["at"], tasks, exclude)
        elif kind in ("taken", "refused"):
            submission = self.submissions[event["number"]]
            submission.answer = kind
            for job_id, record, log, ids in event.get("jobs", []):
                self.jobs[job_id] = SubmittedJob(job_id, submission.name, record, log, tuple(ids))
                self.excluded[job_id] = submission.exclude
        elif kind == "left":
            for job_id in event["jobs"]:
                self.jobs.pop(job_id, None)
                self.excluded.pop(job_id, None)
        elif kind == "excluded":
            self.excluded.update(dict.fromkeys(event["jobs"], frozenset(event["nodes"])))
        elif kind in ("withdrawn", "released"):
            getattr(self, kind).update(event["jobs"])


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:  # without it, everything would be submitted again
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error
    for line in text.split("\n"):
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict):
            yield event


def _append(path: Path, line: str) -> None:
    """Add a line. Raises DiskFullError or InputError where it cannot be written."""
    try:
        append_line(path, line)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
