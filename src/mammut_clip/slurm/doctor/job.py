"""The probe as a job: submitted as training is, followed, and ended."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.slurm.control import cancel, send_signal, start_now
from mammut_clip.slurm.doctor.batch import Probe
from mammut_clip.slurm.doctor.reports import BatchReport, RankReport, batch_file, rank_file
from mammut_clip.slurm.queue import QueuedJob, read_queue
from mammut_clip.slurm.script import parameters
from mammut_clip.slurm.steps import ranks_per_node, room
from mammut_clip.slurm.submit import hand_over
from mammut_clip.slurm.task import Shape, Task
from mammut_clip.slurm.waits import why_it_cannot_start

MINUTES = 10
"""The probe's time limit: short jobs begin sooner."""
_POLL_SECONDS = 0.5
_LOG_LINES = 12

Say = Callable[[str], None]


class ProbeJob:
    """The probe in Slurm's hands. Its files stand in a folder of its own, which `remove_files` takes away."""

    def __init__(self, cluster: ClusterConfig, runs: Path, nodes: int) -> None:
        self.cluster = cluster.model_copy(
            update={
                "time_limit_minutes": min(MINUTES, cluster.time_limit_minutes or MINUTES),
                "signal_seconds": min(30, cluster.signal_seconds),
            }
        )
        per_node = ranks_per_node(cluster) if cluster.gpus_per_node else min(2, ranks_per_node(cluster))
        self.ranks = nodes * per_node
        self.shape: Shape = room(self.cluster, self.ranks)
        self.folder = runs.resolve() / f".slurm-doctor-{secrets.token_hex(4)}"
        self.id = ""

    def submit(self) -> None:
        """Raises InputError where sbatch refuses, SlurmAwayError where nobody answers."""
        probe = Probe(self.cluster, self.shape, self._task(), str(self.folder))
        values = parameters(self.cluster, self.shape, 1, "mammut-clip-doctor", self.folder)
        (self.id,) = hand_over(self.folder, values, [probe])

    def _task(self) -> Task:
        scratch = [] if self.cluster.scratch is None else [f"--scratch={self.cluster.scratch}"]
        told = [str(self.folder), str(60 * MINUTES), *self.cluster.shared_paths, *scratch]
        arguments = ("-m", "mammut_clip.slurm_probe", *told)
        return Task("probe", "train", str(self.folder), arguments, self.ranks, 60.0)

    def wait_to_begin(self, say: Say) -> QueuedJob | None:
        """Until the batch program runs, for as long as the job waits. The job, where it never will or is over."""
        said = ""
        while self.batch(0) is None:
            queue = read_queue()
            queued = None if queue is None else queue.get(self.id)
            if queue is not None and (queued is None or queued.is_over):
                time.sleep(1)  # its file may be on its way to us
                return None if self.batch(0) is not None else queued or _forgotten(self.id)
            if queued is not None:
                if why_it_cannot_start(queued) is not None:
                    return queued
                words = f"job {self.id} is {queued.state} ({queued.reason})"
                if words != said:
                    say(words)
                    said = words
            time.sleep(_POLL_SECONDS)
        return None

    def wait_for_ranks(self, seconds: float) -> list[RankReport]:
        """What the ranks say once all are ready, or one has failed, or the job or the time is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            reports = self.reports()
            if len(reports) == self.ranks and all(report.stage in ("ready", "signalled") for report in reports):
                return reports
            batch = self.batch(0)
            if batch is not None and batch.step_exit is not None:
                break
            time.sleep(_POLL_SECONDS)
        return self.reports()

    def send_signal(self) -> float:
        """As Slurm does before a time limit (--signal=B:USR1): to the batch shell alone. The time of it."""
        at = time.time()
        send_signal([self.id], "USR1")
        return at

    def wait_for_requeue(self, seconds: float) -> tuple[QueuedJob | None, BatchReport | None]:
        """The job as it is queued again, and what its second start says, if it came to that in this time."""
        deadline, queued, hurried = time.monotonic() + seconds, None, False
        while time.monotonic() < deadline and self.batch(1) is None:
            queue = read_queue()
            found = None if queue is None else queue.get(self.id)
            if found is not None:
                queued = found
            if found is not None and found.restarts and found.state == "PENDING" and not hurried:
                hurried = not start_now([self.id])
            time.sleep(_POLL_SECONDS)
        return queued, self.batch(1)

    def reports(self) -> list[RankReport]:
        """Of those ranks that have written one."""
        found = [RankReport.read(rank_file(self.folder, rank)) for rank in range(self.ranks)]
        return [report for report in found if report is not None]

    def batch(self, restart: int) -> BatchReport | None:
        return BatchReport.read(batch_file(self.folder, restart))

    def log_tail(self) -> str:
        """The last lines that the batch script and its ranks printed, for people."""
        lines = []
        for file in sorted(self.folder.glob("*.log")):
            text = file.read_text(errors="replace").strip()
            lines += [f"{file.name}: {line}" for line in text.splitlines()[-_LOG_LINES:]]
        return "\n".join(lines[-2 * _LOG_LINES :])

    def end(self) -> None:
        """Cancel it if it is still there. Raises SlurmAwayError."""
        if self.id:
            cancel([self.id])


def _forgotten(job_id: str) -> QueuedJob:
    return QueuedJob(job_id, "", "gone from the queue", "")
