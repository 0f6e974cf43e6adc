"""One run on two nodes, moved on by whatever Slurm does to its jobs: signals, the time limit, a requeue."""

import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import SlurmCluster

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.runs import RunDir
from mammut_clip.slurm import submit

pytestmark = pytest.mark.slurm

BATCH = 64
SCRIPT = """#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=1 --time=30 --output={folder}/output
srun {train}
echo "ended with $?"
"""
PATIENCE = 240
"""Seconds; nothing depends on how long it takes."""


def wait_until(condition: Callable[[], object], output: Path | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, output.read_text() if output is not None else "waited in vain"
        time.sleep(0.1)


def samples(run: RunDir) -> list[int]:
    return [row["samples_seen"] for row in run.metrics]


def goes_on(run: RunDir, attempt: int) -> Callable[[], bool]:
    """Whether this attempt has trained beyond what the one before had come to."""
    before = max(samples(run), default=0)
    return lambda: run.status.attempts >= attempt and max(samples(run), default=0) > before


def start_of(run: RunDir, attempt: int, rank: int) -> int:
    """Samples seen when it began, by the log of a rank."""
    log = (run.logs / f"attempt-{attempt}-rank-{rank}.log").read_text()
    return int(log.split("start at ")[1].split()[0])


def minutes_of(slurm: SlurmCluster, job: str) -> int:
    minutes, _ = slurm.ask("squeue", "-h", "-j", job, "-o", "%M").strip().split(":")
    return int(minutes)


def test_a_run_lives_on_through_signals_the_time_limit_and_a_requeue(slurm: SlurmCluster, tmp_path: Path) -> None:
    write_toy_train(tmp_path / "train", 512, samples_per_shard=256)
    run = RunDir(tmp_path / "single" / "a-run")
    values = {
        "name": "a-run",
        "samples_seen": "1G",
        "global_batch_size": BATCH,
        "data.train": tmp_path / "train",
        "evaluation.suite": "null",
        "logging.every": BATCH,
        "checkpoint.every": 16 * BATCH,
        "parallel.mode": "fsdp",
        "parallel.threads": 1,
    }
    train = [sys.executable, "-m", "mammut_clip.train", "toy", *(f"{key}={value}" for key, value in values.items())]
    train += ["--runs", str(tmp_path), "--device", "cpu"]
    output = tmp_path / "output"
    (tmp_path / "job.sh").write_text(SCRIPT.format(folder=tmp_path, train=shlex.join(train)))

    begun = goes_on(run, 1)
    job_id = slurm.ask("sbatch", "--parsable", str(tmp_path / "job.sh")).strip()
    wait_until(begun, output)
    slurm.ask("scancel", "--signal=USR1", f"{job_id}.0")
    wait_until(lambda: "ended with" in output.read_text(), output)
    assert "ended with 138" in output.read_text()
    assert run.status.state == "interrupted"
    interrupted_at = run.status.samples_seen
    assert interrupted_at == samples(run)[-1]

    # The way of `mammut-clip sweep`: submitit starts our work in each task, and that the trainer.
    cluster = ClusterConfig(
        kind="slurm", gpus_per_node=1, time_limit_minutes=30, signal_seconds=90, peak_tflops=1, efficiency=0.5
    )
    begun = goes_on(run, 2)
    command = [*train[:3], str(run.path), "--device", "cpu"]
    job = submit(cluster, [command], tmp_path / "jobs", "a-job", processes=2)
    wait_until(begun, job.log)
    begun = goes_on(run, 3)
    slurm.ask("scontrol", "requeue", job.id)
    wait_until(begun, job.log)

    begun = goes_on(run, 4)
    # From 90 s before the limit on, and up to 30 s earlier, Slurm sends SIGUSR2; submitit queues the job again.
    slurm.ask("scontrol", "update", f"JobId={job.id}", f"TimeLimit={minutes_of(slurm, job.id) + 2}")
    wait_until(lambda: "timed-out" in job.log.read_text() or "preempted" in job.log.read_text(), job.log)
    slurm.ask("scontrol", "update", f"JobId={job.id}", "TimeLimit=30")
    wait_until(begun, job.log)
    slurm.ask("scancel", "--signal=USR1", job.id)
    wait_until(lambda: not slurm.ask("squeue", "-h", "-j", job.id).strip(), job.log)
    assert run.status.state == "interrupted"
    assert job.was_stopped

    attempts = range(1, 1 + run.status.attempts)
    starts = [start_of(run, attempt, 0) for attempt in attempts]
    assert starts == [start_of(run, attempt, 1) for attempt in attempts]
    assert starts[:2] == [0, interrupted_at]
    assert starts == sorted(starts)
    assert samples(run) == [BATCH * step for step in range(1, 1 + len(samples(run)))]
    assert run.checkpoints[-1].samples_seen == run.status.samples_seen == samples(run)[-1]
    marker = json.loads((run.checkpoints[-1].path / "complete").read_text())
    assert marker["world_size"] == 2
