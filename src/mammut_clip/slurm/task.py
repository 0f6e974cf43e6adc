"""What a job is made of: tasks (a training, an evaluation), and the room they run in. No code of Slurm's here.

A job has `nodes`, and on them room for so many tasks at a time; its supervisor (slurm.supervisor) gives the next task
to the first that is free, until all are done or given up.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mammut_clip.runs.layout import RunDir


@dataclass(frozen=True)
class Task:
    """One thing to be done for a run by one start of Python, on `processes` ranks."""

    id: str
    """Unique in the sweep: the run's name, for an evaluation with `.eval`."""
    kind: Literal["train", "evaluate"]
    run: str
    """The run's directory, absolute."""
    arguments: tuple[str, ...]
    """What follows `python -u`, such as -m mammut_clip.train RUN."""
    processes: int
    """Ranks, one GPU each where the cluster has any."""
    seconds: float
    """Predicted wall time."""

    @property
    def run_dir(self) -> RunDir:
        return RunDir(Path(self.run))


@dataclass(frozen=True)
class Shape:
    """The room that a job asks for. Jobs of one shape can go as one array."""

    nodes: int
    tasks_per_node: int
    """Ranks on each node: all that the node has room for where several tasks share it."""
    ranks_per_task: int
    """Ranks of each of the job's tasks (slurm.task.Task)."""

    @property
    def at_once(self) -> int:
        """How many tasks run at a time."""
        return max(1, self.nodes * self.tasks_per_node // self.ranks_per_task)


@dataclass(frozen=True)
class JobRequest:
    """A job to be submitted."""

    shape: Shape
    tasks: tuple[Task, ...]
    """In the order in which they are begun."""


@dataclass(frozen=True)
class SubmittedJob:
    """A job that sbatch took."""

    id: str
    """Slurm's id, `123`, or `123_4` for an element of an array."""
    name: str
    """Its name in the queue, unique to the submission; all elements of an array share it."""
    record: str
    """File in which the job notes what it does (slurm.record.JobRecord)."""
    log: str
    """What its batch script and supervisor print."""
    task_ids: tuple[str, ...]
