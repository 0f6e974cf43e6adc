"""What `sweep status` says: of each run, of a sweep at one moment, of the history of a run."""

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

from mammut_clip.config.errors import InputError
from mammut_clip.runs.ends import End

STATES = (
    "running", "silent", "queued", "interrupted", "failed", "given_up", "cancelled", "pending", "finished", "dropped",
)  # fmt: skip
"""running: its lease is alive. silent: it says that it runs, and its lease has run out. queued: its job waits, or works
at other runs first. interrupted, failed: it goes on when it is started again, which policy allows. given_up: policy
does not. cancelled: by the user. pending: not begun. dropped: the grid has it no more, and it is not finished."""


@dataclass(frozen=True)
class StatusRow:
    """One run."""

    id: str
    state: str
    """One of STATES."""
    samples_seen: int
    total_samples: int
    attempts: int
    hours: float
    """Of training, times processes: GPU-hours where there are GPUs."""
    loss: float | None = None
    """running: in the last line of metrics."""
    samples_per_second: float | None = None
    """running: the same."""
    eta_seconds: float | None = None
    """running: until its end, at that rate."""
    last_error: str | None = None
    """Of the last attempt that failed, in one line."""
    ended: str | None = None
    """How the last attempt ended (runs.ends.EndKind)."""
    why: str | None = None
    """What there is to know: why it was given up, what holds its job, why it waits."""
    has_problem: bool = False
    """Whether its job will not start by itself: held, or asking for what there is not."""
    job: str | None = None
    """Slurm's id of the job it is in."""
    updated_at: float | None = None
    """Unix time of its last status; None before the first."""
    evaluations_done: int = 0
    """Checkpoints with results of the sweep's whole suite."""
    evaluations_missing: int = 0
    """Checkpoints that should have them and have not."""
    evaluation_why: str | None = None
    """Why these were given up, or why the last try failed."""


@dataclass(frozen=True)
class SweepStatus:
    """A sweep at one moment."""

    sweep: str
    rows: list[StatusRow]
    on_gpus: bool = False
    """Whether `hours` are GPU-hours."""
    paused: bool = False
    """Whether the user paused it."""
    queue_age: float | None = None
    """Seconds since a launcher looked at the queue; None where none did."""
    queue_answered: bool = True
    """Whether Slurm answered then."""

    @property
    def counts(self) -> dict[str, int]:
        """State -> number of runs, for the states that occur."""
        found = Counter(row.state for row in self.rows)
        return {state: found[state] for state in STATES if found[state]}

    @property
    def hours(self) -> float:
        """Of training so far, times processes."""
        return sum(row.hours for row in self.rows)

    @property
    def evaluations(self) -> dict[str, int]:
        """Checkpoints whose evaluation is done, and missing; runs whose evaluation failed."""
        return {
            "done": sum(row.evaluations_done for row in self.rows),
            "missing": sum(row.evaluations_missing for row in self.rows),
            "failed": sum(row.evaluation_why is not None for row in self.rows),
        }

    def only(self, states: Collection[str]) -> "SweepStatus":
        """The runs in these states. Raises InputError for one that is none."""
        unknown = [state for state in states if state not in STATES]
        if unknown:
            raise InputError(f"--state {unknown[0]}: expected one of {', '.join(STATES)}")
        return replace(self, rows=[row for row in self.rows if row.state in states])

    def to_json_dict(self) -> dict[str, Any]:
        """What `sweep status --json` prints."""
        totals = {"counts": self.counts, "hours": self.hours, "evaluations": self.evaluations}
        queue = {"age_seconds": self.queue_age, "answered": self.queue_answered}
        about = {"sweep": self.sweep, "on_gpus": self.on_gpus, "paused": self.paused, "queue": queue}
        return about | totals | {"runs": [row.__dict__ for row in self.rows]}


@dataclass(frozen=True)
class RunHistory:
    """One run, with how each of its attempts ended."""

    row: StatusRow
    ends: list[End]
    logs: list[str]
    """Files that its processes wrote, newest first."""

    def to_json_dict(self) -> dict[str, Any]:
        """What `sweep status FOLDER RUN --json` prints."""
        return {"run": asdict(self.row), "ends": [end.model_dump(mode="json") for end in self.ends], "logs": self.logs}
