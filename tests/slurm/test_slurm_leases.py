"""Runs whose lease is held when a sweep is launched on a real Slurm: in our jobs, by a dead job of ours, by others."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster import SlurmCluster

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.runs import RunDir
from mammut_clip.runs.holder import this_process
from mammut_clip.runs.lease import is_leased
from mammut_clip.sweep import LaunchResult, Plan, launch, make_plan

pytestmark = pytest.mark.slurm

STANDIN = [sys.executable, str(Path(__file__).parents[1] / "sweep" / "standin_trainer.py")]
BASE: dict[str, Any] = {"model": "toy-XS", "samples_seen": 1280, "global_batch_size": 128, "data": {"train": "d"}}


def plan_of(*seeds: int) -> Plan:
    cluster = ClusterConfig(
        kind="slurm", gpus_per_node=2, time_limit_minutes=5, signal_seconds=30, peak_tflops=1, efficiency=0.5
    )
    values = {"name": "s", "base": {**BASE, "optimizer": {"lr": 1e-3}}, "axes": {"seed": list(seeds)}}
    return make_plan(validate(SweepConfig, values, "s.yaml"), cluster)


def start(plan: Plan, root: Path, **more: Any) -> LaunchResult:
    return launch(plan, root, trainer_command=STANDIN, poll_seconds=0.2, **more)


def jobs(root: Path) -> dict[str, Any]:
    return json.loads((root / "s" / "launch" / "jobs.json").read_text())


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_running_runs_of_ours_are_in_the_queue_and_those_of_a_dead_job_start_again(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    plan = plan_of(1, 2)
    runs = [RunDir.create(tmp_path, planned.config) for planned in plan.runs]
    for run in runs:
        (run.path / "behaviour").write_text("sleep-once 120")
    start(plan, tmp_path)
    first = jobs(tmp_path)
    wait_until(lambda: all(is_leased(run.lock_file) for run in runs))
    assert sorted(start(plan, tmp_path).queued) == ["seed1", "seed2"]
    assert jobs(tmp_path) == first

    ids = [first[run.name]["job_id"] for run in runs]
    slurm.ask("scancel", "--signal=KILL", "--full", *ids)
    wait_until(lambda: not slurm.ask("squeue", "-h").strip())
    for run, job in zip(runs, (ids[0], "999999"), strict=True):  # as if both had died a moment ago on other hosts
        number = 1 + max(int(file.suffix[1:]) for file in run.path.glob("lock.*"))
        record = this_process(60).model_copy(update={"machine": "elsewhere", "host": "n9", "slurm_job": job})
        (run.path / f"lock.{number}").write_bytes(record.encode())
    assert start(plan, tmp_path).queued == ["seed1"]  # the other job is not ours: nobody knows that it has ended
    assert jobs(tmp_path)["seed2"] == first["seed2"]
