"""Sweeps launched for Slurm, without any: what the launcher reads and writes beside the queue."""

from pathlib import Path
from typing import Any

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.slurm.task import SubmittedJob
from mammut_clip.sweep import make_plan
from mammut_clip.sweep.journal import Journal
from mammut_clip.sweep.prepare import prepare
from mammut_clip.sweep.stored import Launched

BASE: dict[str, Any] = {
    "model": "toy-XS",
    "samples_seen": 1280,
    "global_batch_size": 128,
    "data": {"train": "d"},
    "optimizer": {"lr": 1e-3},
}


def launched(root: Path, *seeds: int, grow: bool = False) -> Launched:
    """A sweep with a run seed<n> of each."""
    cluster = ClusterConfig(kind="slurm", gpus_per_node=4, time_limit_minutes=60, peak_tflops=1, efficiency=0.5)
    values = {"name": "s", "base": BASE, "axes": {"seed": list(seeds)}, "policy": {"crashes": 2}}
    return prepare(make_plan(validate(SweepConfig, values, "s.yaml"), cluster), root, grow=grow)


def submitted(sweep: Launched, *jobs: tuple[str, ...]) -> Journal:
    """The journal after jobs 7_0, 7_1, ... of these tasks were taken."""
    folder, journal = sweep.folder.launch_folder / "jobs" / "1", Journal.open(sweep.folder)
    journal.begin(1, "s.tag.1", jobs)
    journal.taken(
        1,
        [
            SubmittedJob(f"7_{index}", "s.tag.1", str(folder / f"{index}.json"), str(folder / f"{index}.log"), tasks)
            for index, tasks in enumerate(jobs)
        ],
    )
    return journal
