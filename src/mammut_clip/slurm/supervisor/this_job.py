"""The job that this process is the batch shell of: who it is, why it was told to stop, queueing it again."""

import os
import socket
from dataclasses import dataclass

from mammut_clip.runs.ends import EndKind
from mammut_clip.slurm.ask import ask
from mammut_clip.slurm.control import down_nodes
from mammut_clip.slurm.errors import SlurmAwayError

_SECONDS = 5.0
"""For an answer while SIGKILL is near."""
_REQUEUE_SECONDS = 20.0


@dataclass(frozen=True)
class ThisJob:
    """What Slurm told it of itself."""

    id: str
    """`123`, `123_4` for an element of an array. Never the raw id of such an element: that of the last one is also the
    array's, and `scontrol requeue` then takes all of its elements."""
    index: int
    """Of the element in its array; 0 for a job alone."""
    restart: int
    """How often it has been queued again."""
    nodes: str
    """Slurm's list of its nodes."""
    host: str
    """The node that this runs on, by Slurm's name."""

    @classmethod
    def from_environment(cls) -> "ThisJob":
        """From the batch shell's variables."""
        index = os.environ.get("SLURM_ARRAY_TASK_ID")
        array = os.environ.get("SLURM_ARRAY_JOB_ID")
        return cls(
            id=os.environ["SLURM_JOB_ID"] if index is None else f"{array}_{index}",
            index=int(index or 0),
            restart=int(os.environ.get("SLURM_RESTART_COUNT", "0")),
            nodes=os.environ.get("SLURM_JOB_NODELIST", ""),
            host=os.environ.get("SLURMD_NODENAME", socket.gethostname()),
        )

    def why_told_to_stop(self) -> EndKind | None:
        """After SIGTERM: what Slurm does with the job; None where it does not say."""
        # `all`: a job that is completing may count as over already
        form = "--Format=RestartCnt:|,PreemptTime:|,StateCompact:|,Reason:"
        answer = ask(["squeue", "--noheader", "--states=all", f"--jobs={self.id}", form], _SECONDS)
        return why(answer.text, self.restart) if answer.ok else None

    def down_nodes(self) -> str:
        """Those of its nodes that Slurm says are down, comma-separated; empty where there are none, or no answer."""
        try:
            return ",".join(down_nodes(self.nodes))
        except SlurmAwayError:
            return ""

    def requeue(self) -> str | None:
        """Queue the job again under its id: Slurm then ends what of it still runs. None, or why that was not done."""
        answer = ask(["scontrol", "requeue", self.id], _REQUEUE_SECONDS)
        return None if answer.ok else answer.words or f"scontrol ended with code {answer.code}"


def why(line: str, restart: int) -> EndKind | None:
    """What squeue's line about a job in its `restart` says of the end that it is coming to.

    Measured: Slurm counts the next restart at once. A job that is cancelled is completing without one; a bare
    `scancel --signal=TERM` leaves it running. The failure of a node looks like a requeue.
    """
    fields = line.strip().split("|", 3)
    if len(fields) != 4 or not fields[0].isdigit():
        return None
    restarts, preempted, state, reason = fields
    if int(restarts) > restart:
        return "requeued" if preempted in ("N/A", "") else "preempted"
    if reason == "TimeLimit" or state == "TO":
        return "time_limit"
    return "cancelled" if state in ("CG", "CA") else None
