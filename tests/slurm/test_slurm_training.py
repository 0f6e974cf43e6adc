"""One real training on two nodes, moved on by whatever Slurm does to its job: signals, the time limit, a requeue."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import SlurmCluster

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.files import find_file
from mammut_clip.config.load import apply_overrides, read_mapping, validate
from mammut_clip.config.run import RunConfig
from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.data.toy_shards import write_toy_train
from mammut_clip.runs.ends import read_ends
from mammut_clip.runs.layout import RunDir
from mammut_clip.slurm.record import JobRecord
from mammut_clip.slurm.submit import submit
from mammut_clip.slurm.task import JobRequest, Shape, SubmittedJob, Task

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

BATCH = 64
PATIENCE = 240
"""Seconds; nothing depends on how long it takes."""


def wait_until(condition: Callable[[], object], job: SubmittedJob) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, Path(job.log).read_text()
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


def make_run(sweep: Path, shards: Path) -> RunDir:
    values = {
        "name": "a-run",
        "sweep": sweep.name,
        "samples_seen": "1G",
        "global_batch_size": BATCH,
        "data.train": str(shards),
        "evaluation.suite": "null",
        "logging.every": BATCH,
        "checkpoint.every": 16 * BATCH,
        "parallel.mode": "fsdp",
        "parallel.threads": 1,
    }
    recipe = read_mapping(find_file("configs/train", "toy"))
    overridden = apply_overrides(recipe, [f"{key}={value}" for key, value in values.items()])
    return RunDir.create(sweep.parent, validate(RunConfig, overridden, "test"))


def test_a_run_lives_on_through_signals_the_time_limit_and_a_requeue(slurm: SlurmCluster, tmp_path: Path) -> None:
    write_toy_train(tmp_path / "train", 512, samples_per_shard=256)
    sweep = tmp_path / "runs" / "a-sweep"
    run = make_run(sweep, tmp_path / "train")
    cluster = ClusterConfig(
        kind="slurm", gpus_per_node=1, time_limit_minutes=30, signal_seconds=90, peak_tflops=1, efficiency=0.5
    )
    arguments = ("-m", "mammut_clip.train", str(run.path), "--device", "cpu")
    task = Task("a-run", "train", str(run.path), arguments, 2, 3600.0)
    (job,) = submit(
        cluster,
        [JobRequest(Shape(2, 1, 2), (task,))],
        sweep_dir=sweep,
        number=1,
        policy=SweepPolicy(backoff_seconds=0),
    )
    wait_until(goes_on(run, 1), job)

    begun = goes_on(run, 2)  # somebody tells the ranks and not the job: they begin again in it
    slurm.ask("scancel", "--signal=USR1", f"{job.id}.0")
    wait_until(begun, job)

    begun = goes_on(run, 3)
    slurm.ask("scontrol", "requeue", job.id)
    wait_until(begun, job)

    begun = goes_on(run, 4)
    # From 90 s before the limit on, and up to 30 s earlier, Slurm sends SIGUSR1.
    slurm.ask("scontrol", "update", f"JobId={job.id}", f"TimeLimit={minutes_of(slurm, job.id) + 2}")
    wait_until(lambda: "SIGUSR1" in Path(job.log).read_text(), job)
    slurm.ask("scontrol", "update", f"JobId={job.id}", "TimeLimit=30")
    wait_until(begun, job)
    slurm.ask("scancel", job.id)
    wait_until(lambda: not slurm.ask("squeue", "-h", "-j", job.id).strip(), job)

    assert run.status.state == "interrupted"
    ends = read_ends(run.ends_file)
    assert [(end.kind, end.restart) for end in ends] == [
        ("requeued", 0),
        ("requeued", 0),
        ("time_limit", 1),
        ("cancelled", 2),
    ]
    assert all(end.advanced for end in ends)
    record = JobRecord.read(Path(job.record))
    assert record is not None
    assert (record.told_to_stop, record.restart) == ("SIGTERM", 2)

    attempts = range(1, 1 + run.status.attempts)
    starts = [start_of(run, attempt, 0) for attempt in attempts]
    assert starts == [start_of(run, attempt, 1) for attempt in attempts]
    assert starts == [end.samples_before for end in ends], "nothing was trained twice"
    assert samples(run) == [BATCH * step for step in range(1, 1 + len(samples(run)))]
    assert run.checkpoints[-1].samples_seen == run.status.samples_seen == samples(run)[-1]
    marker = json.loads((run.checkpoints[-1].path / "complete").read_text())
    assert marker["world_size"] == 2
