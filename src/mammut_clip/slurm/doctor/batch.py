"""The probe's batch program: it starts the ranks as training's are started, passes a signal on to them, and has itself
queued again once."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.slurm.ask import ask
from mammut_clip.slurm.doctor.reports import BatchReport, batch_file
from mammut_clip.slurm.steps import step_command
from mammut_clip.slurm.task import Shape, Task


@dataclass(frozen=True)
class Probe:
    """What submitit pickles, by reference, and calls in the batch shell of every start of the job."""

    cluster: ClusterConfig
    shape: Shape
    task: Task
    folder: str

    def __call__(self) -> None:
        restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        report = BatchReport(
            job=os.environ["SLURM_JOB_ID"],
            restart=restart,
            host=socket.gethostname(),
            nodes=os.environ.get("SLURM_JOB_NODELIST", ""),
            began=time.time(),
        )
        report.write(batch_file(Path(self.folder), restart))
        if restart == 0:
            self._run(report)

    def _run(self, report: BatchReport) -> None:
        folder = Path(self.folder)
        command = step_command(self.cluster, self.shape, self.task, folder / "probe", {})
        step = subprocess.Popen(command)

        def pass_on(number: int, _frame: FrameType | None) -> None:
            report.signals.setdefault(signal.Signals(number).name, time.time())
            step.send_signal(number)  # srun hands it to the ranks

        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, pass_on)
        report.step_exit = step.wait()
        report.write(batch_file(folder, 0))
        if "SIGUSR1" in report.signals and "SIGTERM" not in report.signals:
            answer = ask(["scontrol", "requeue", report.job])
            report.requeue = answer.words if not answer.ok else ""
            report.write(batch_file(folder, 0))
            time.sleep(60)  # what is queued again is ended by Slurm
