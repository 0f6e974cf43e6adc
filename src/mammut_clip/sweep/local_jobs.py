"""Runs on this machine: packed into as many jobs as it has slots, watched until all have ended.

A job trains several runs one after another in one process, which saves the seconds of start-up that would dominate
short runs. A launcher that is killed leaves its jobs running; the next one finds them by their locks and waits.
"""

import re
import sys
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from mammut_clip.config.atomic import read_json
from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.runs.lock import is_held
from mammut_clip.slurm.jobs import Job, submit
from mammut_clip.slurm.work import lock_of
from mammut_clip.sweep.ledger import Ledger
from mammut_clip.sweep.plan import PlannedRun
from mammut_clip.sweep.progress import Progress, Report

_JOB_NAME = re.compile(r"^(\d+)-slot(\d+)$")
_PATIENCE_SECONDS = 15
"""Beyond a job's own grace, before it is killed."""


def pack(runs: list[PlannedRun], bins: int) -> list[list[PlannedRun]]:
    """Spread runs over at most `bins` lists of about equal predicted time: the longest first, to the emptiest list."""
    lists: list[list[PlannedRun]] = [[] for _ in range(min(bins, len(runs)))]
    load = [0.0] * len(lists)
    for run in sorted(runs, key=lambda run: (-run.seconds, run.id)):
        emptiest = load.index(min(load))
        lists[emptiest].append(run)
        load[emptiest] += run.seconds
    return lists


def commands_for(runs: list[PlannedRun], sweep_dir: Path, trainer_command: list[str]) -> list[list[str]]:
    """One command for each stretch of runs with the same number of processes."""
    commands = []
    for processes, stretch in groupby(runs, key=lambda run: run.processes):
        command = trainer_command
        if processes > 1:
            torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
            command = [sys.executable, *torchrun, *trainer_command[1:]]
        commands.append([*command, *(str(sweep_dir / run.id) for run in stretch)])
    return commands


@dataclass(frozen=True)
class _Slot:
    """Room for one job."""

    number: int
    gpus: tuple[int, ...]


def _slots(cluster: ClusterConfig, runs: list[PlannedRun]) -> list[_Slot]:
    width = max((run.gpus for run in runs), default=0)
    count = cluster.slots
    if width:
        # GPUs are not shared: jobs at once are limited by them even where parallel_jobs says more
        count = min(count, cluster.gpus_per_node // width)
    return [_Slot(n, tuple(range(n * width, (n + 1) * width))) for n in range(count)]


class LocalLauncher:
    """Starts, watches and stops the jobs of one launch on this machine."""

    def __init__(
        self, cluster: ClusterConfig, sweep_dir: Path, ledger: Ledger, trainer_command: list[str], grace_seconds: float
    ) -> None:
        self._cluster = cluster
        self._sweep_dir = sweep_dir
        self._ledger = ledger
        self._trainer_command = trainer_command
        self._grace = grace_seconds
        self._folder = sweep_dir / "launch" / "jobs"
        self._slots = _slots(cluster, [entry.planned for entry in ledger.entries.values()])
        self._jobs: dict[int, Job] = {}
        """Slot number -> the job in it."""
        self._adopt()

    def run(self, report: Report, poll_seconds: float) -> None:
        """Until every run is finished or given up. KeyboardInterrupt passes through; `stop` ends the jobs then."""
        progress = Progress(self._ledger)
        while not self._ledger.is_done:
            self._reap()
            self._ledger.look_elsewhere()
            self._start()
            report(progress.snapshot())
            time.sleep(poll_seconds)
        report(progress.snapshot())

    def stop(self, at_once: bool = False) -> None:
        """End all jobs: in good order (their runs write a checkpoint), or at once."""
        deadline = time.monotonic() + (0 if at_once else self._grace + _PATIENCE_SECONDS)
        while running := [job for job in self._jobs.values() if job.is_running]:
            for job in running:
                if time.monotonic() < deadline:
                    job.cancel()
                else:
                    job.kill()
            time.sleep(0.2)

    def _adopt(self) -> None:
        """Take over the jobs that an earlier launcher left running, so that the machine is not given twice the work."""
        for record in sorted(self._folder.glob("*/*.json")):
            name = _JOB_NAME.match(record.stem)
            if name and is_held(lock_of(record)):
                log = next(record.parent.glob("*_log.out"), record)
                self._jobs[int(name.group(2))] = job = Job("", record.stem, record, log)
                commands = (read_json(record) or {}).get("commands", [])
                named = {Path(argument).name for command in commands for argument in command}
                self._ledger.begin([run_id for run_id in self._ledger.waiting if run_id in named], job)

    def _reap(self) -> None:
        for number, job in list(self._jobs.items()):
            if not job.is_running:
                del self._jobs[number]
                self._ledger.settle(job)

    def _start(self) -> None:
        free = [slot for slot in self._slots if slot.number not in self._jobs]
        waiting = [self._ledger.entries[run_id].planned for run_id in self._ledger.waiting]
        for slot, runs in zip(free, pack(waiting, len(free)), strict=False):
            name = f"{self._next_number():04d}-slot{slot.number}"
            commands = commands_for(runs, self._sweep_dir, self._trainer_command)
            folder = self._folder / name
            job = submit(self._cluster, commands, folder, name, visible_gpus=slot.gpus, grace_seconds=self._grace)
            self._jobs[slot.number] = job
            self._ledger.begin([run.id for run in runs], job)

    def _next_number(self) -> int:
        numbers = [int(match.group(1)) for path in self._folder.glob("*") if (match := _JOB_NAME.match(path.name))]
        return max(numbers, default=0) + 1
