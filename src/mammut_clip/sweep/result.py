"""What a launcher leaves behind, for people and for programs."""

from dataclasses import asdict, dataclass, field
from typing import Any

from mammut_clip.sweep.cycle import Cycle
from mammut_clip.sweep.standing import FailedRun


@dataclass(frozen=True)
class LaunchResult:
    """How a sweep stands when a launcher ends."""

    finished: list[str]
    """Runs that are finished, whether now or before."""
    failed: list[FailedRun]
    """Runs and evaluations that are given up; `sweep retry` tries them again."""
    interrupted: bool = False
    """Stopped by Ctrl-C or a signal; the next launch continues."""
    queued: list[str] = field(default_factory=list)
    """slurm: ids of tasks whose jobs are in the queue, or may be."""
    note: str = ""
    """What stood in the way, such as a limit on submitted jobs."""
    cancelled: list[str] = field(default_factory=list)
    """Runs that the user cancelled."""
    problems: dict[str, str] = field(default_factory=dict)
    """slurm: task -> why its job will not start."""

    @property
    def exit_code(self) -> int:
        """130 interrupted, 3 some runs failed or cannot start, 0 otherwise."""
        return 130 if self.interrupted else 3 if self.failed or self.problems else 0

    def to_json_dict(self) -> dict[str, Any]:
        """What `sweep launch --json` prints."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [f"{len(self.finished)} runs finished"]
        counts = {"in the queue": len(self.queued), "failed": len(self.failed), "cancelled": len(self.cancelled)}
        parts += [f"{count} {what}" for what, count in counts.items() if count]
        if self.interrupted:
            parts.append("interrupted: the same command continues")
        if self.note:
            parts.append(self.note)
        lines = [", ".join(parts)]
        lines += [f"  {run.id}: {run.error}" + (f"\n    log: {run.log}" if run.log else "") for run in self.failed]
        lines += [f"  {task}: will not start: {why}" for task, why in self.problems.items()]
        return "\n".join(lines)


def result_of(cycle: Cycle, *, interrupted: bool = False) -> LaunchResult:
    """What a cycle found."""
    standing = cycle.standing
    notes = [cycle.note, "paused; `sweep resume` goes on" if cycle.paused else ""]
    return LaunchResult(
        finished=standing.finished,
        failed=standing.failed,
        interrupted=interrupted,
        queued=sorted(cycle.queued),
        note="; ".join(note for note in notes if note),
        cancelled=standing.cancelled,
        problems=cycle.problems,
    )
