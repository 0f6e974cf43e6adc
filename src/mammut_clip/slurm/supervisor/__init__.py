"""What runs inside a job, in the batch shell of its first node: tasks as srun steps, several at a time where the job
has room, until all are done or given up.

It hears the batch shell's signals, and tells the steps; after the time limit's it queues its own job again. Everything
that another has to know stands in files: the job's record, the runs' ends.jsonl. Nothing here watches other jobs.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.slurm.supervisor.lanes import Lanes
from mammut_clip.slurm.supervisor.last import finish
from mammut_clip.slurm.supervisor.notes import Notes
from mammut_clip.slurm.supervisor.signals import Signals
from mammut_clip.slurm.supervisor.this_job import ThisJob
from mammut_clip.slurm.task import Shape, Task

__all__ = ["Supervisor"]


@dataclass
class Supervisor:
    """One job's work. submitit pickles it by reference; a call runs it and ends the process.

    Exit code 0 where all tasks are done, 3 otherwise.
    """

    cluster: ClusterConfig
    shape: Shape
    tasks: tuple[Task, ...]
    """In the order in which they are begun."""
    policy: SweepPolicy
    """What follows when a task's processes end before it is done."""
    folder: str
    """Where the job's record is kept, <sweep>/launch/jobs/<number>."""
    tend: tuple[str, ...] = ()
    """A command that submits what is due next, run once at the end; its failure is told and changes nothing."""

    def __call__(self) -> None:
        signals = Signals()
        job = ThisJob.from_environment()
        folder = Path(self.folder)
        notes = Notes.open(folder / f"{job.index}.json", job)
        lanes = Lanes(self, job, notes, signals, folder.parents[1] / "control.json")
        lanes.run()
        sys.exit(finish(self.tend, job, notes, signals, lanes))
