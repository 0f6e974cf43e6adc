"""The file that each job keeps of itself: who it is, what it runs, whether it was told to stop, whether it has ended.

The launcher reads it: a job whose record says `ended` is done, whatever the queue still shows.
"""

from pydantic import Field

from mammut_clip.runs.records import Record


class TaskRecord(Record):
    """A task that a job has begun."""

    task: str
    """Id of the task."""
    began: float
    """Unix time, seconds."""
    nodes: str = ""
    """Where it runs."""
    samples_before: int = 0
    """Samples seen at the newest checkpoint when it began."""
    restart: int = 0
    """The job's restart in which it began."""
    ended: bool = False
    """Whether its end stands in the run's ends.jsonl."""


class JobRecord(Record):
    """<job name>/<index>.json beside the job's log."""

    job: str
    """Slurm's id, `123` or `123_4`."""
    restart: int = 0
    """How often it has been queued again."""
    host: str = ""
    """Where its supervisor runs."""
    nodes: str = ""
    """Slurm's list of its nodes, in this restart."""
    began: float
    """Unix time of this restart's beginning."""
    told_to_stop: str | None = None
    """Name of the signal that it got in this restart, such as SIGUSR1 (the time limit) or SIGTERM."""
    tasks: list[TaskRecord] = Field(default_factory=list)
    """What it has begun, in order, those of earlier restarts too."""
    ended: bool = False
    """Whether it has come to its end, and neither runs anything nor will be queued again by itself."""
