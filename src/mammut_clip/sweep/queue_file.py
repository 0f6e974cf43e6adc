"""launch/queue.json: what the sweep's tasks were in the queue when a launcher looked last. For display alone: nothing
is decided by it, since it may be old."""

from pydantic import Field

from mammut_clip.runs.layout import SweepDir
from mammut_clip.runs.records import Record


class QueueLine(Record):
    """The job of one task."""

    job: str
    """Slurm's id, `123` or `123_4`."""
    state: str = ""
    """Slurm's state, such as PENDING."""
    reason: str | None = None
    """Why it waits, in Slurm's words."""
    problem: str | None = None
    """What keeps it from ever starting: held, or asking for what there is not."""

    @property
    def runs(self) -> bool:
        """Whether the job has nodes, though perhaps it has not come to this task."""
        return self.state in ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING")


class QueueFile(Record):
    """The queue at one moment."""

    at: float
    """Unix time of the look."""
    answered: bool = True
    """Whether Slurm answered; if not, `jobs` are those of the last time it did."""
    jobs: dict[str, QueueLine] = Field(default_factory=dict)
    """Id of a task -> its job."""

    def store(self, sweep: SweepDir) -> None:
        """Write it atomically."""
        self.write(sweep.launch_folder / "queue.json")


def read_queue_file(sweep: SweepDir) -> QueueFile | None:
    """None where no launcher has looked yet."""
    return QueueFile.read(sweep.launch_folder / "queue.json")
