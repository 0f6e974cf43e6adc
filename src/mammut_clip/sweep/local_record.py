"""What a launcher on this machine notes of each of its jobs, for itself and for the one that comes after it."""

import time
from pathlib import Path
from typing import Literal

from pydantic import Field

from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.records import Record
from mammut_clip.slurm.task import Task

NAME = "tasks.json"


class LocalTask(Record):
    """One task of a job, and how its run stood when the job was started."""

    id: str
    """Id of the task."""
    kind: Literal["train", "evaluate"]
    """What is done."""
    run: str
    """The run's directory."""
    processes: int
    """Ranks."""
    attempts_before: int
    """Attempts in the run's status."""
    samples_before: int
    """Samples seen at its newest checkpoint."""
    results_before: int
    """Results that it had."""

    @classmethod
    def of(cls, task: Task) -> "LocalTask":
        """A task as it is now."""
        run = task.run_dir
        return cls(
            id=task.id,
            kind=task.kind,
            run=task.run,
            processes=task.processes,
            attempts_before=run.status.attempts,
            samples_before=newest_checkpoint(run),
            results_before=count_results(run),
        )

    @property
    def run_dir(self) -> RunDir:
        return RunDir(Path(self.run))

    @property
    def has_started(self) -> bool:
        """train: whether a trainer has come to it since."""
        return self.run_dir.status.attempts > self.attempts_before

    @property
    def is_finished(self) -> bool:
        """train: whether nothing is left to do."""
        return self.run_dir.status.state == "finished"


class LocalRecord(Record):
    """<job>/tasks.json."""

    tasks: list[LocalTask]
    """In the order in which they are done, all by one command."""
    began: float = Field(default_factory=time.time)
    """Unix time, seconds."""
    settled: bool = False
    """Whether its end has been noted in the runs' ends.jsonl."""


def newest_checkpoint(run: RunDir) -> int:
    """Samples seen at the newest complete checkpoint; 0 where there is none."""
    return max((one.samples_seen for one in run.checkpoints), default=0)


def count_results(run: RunDir) -> int:
    """Results of evaluations, of all checkpoints."""
    return sum(1 for _ in run.path.glob("evals/*/*.json"))
