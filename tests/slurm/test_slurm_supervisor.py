"""Jobs on a real Slurm with what runs inside them: packing, signals, requeues, errors. The trainer has no model."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cluster import SlurmCluster

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.runs.adjustments import Adjustments
from mammut_clip.runs.ends import End, append_end, read_ends
from mammut_clip.runs.layout import RunDir
from mammut_clip.slurm.record import JobRecord
from mammut_clip.slurm.submit import submit
from mammut_clip.slurm.task import JobRequest, Shape, SubmittedJob, Task

pytestmark = pytest.mark.slurm

TRAINER = Path(__file__).with_name("supervised_trainer.py")
PATIENCE = 300
"""Seconds; nothing depends on how long it takes."""
POLICY = SweepPolicy(crashes=3, backoff_seconds=0.2, stalls=10)


def cluster(**changes: Any) -> ClusterConfig:
    values = {
        "kind": "slurm",
        "gpus_per_node": 4,
        "time_limit_minutes": 30,
        "signal_seconds": 60,
        "peak_tflops": 1,
        "efficiency": 0.5,
        "whole_nodes": False,
        "environment": {"STEP_SECONDS": "0.02"},
    }
    return ClusterConfig(**(values | changes))


def make_run(sweep: Path, name: str, behaviour: str = "", samples: int = 40) -> RunDir:
    values = {
        "name": name,
        "sweep": sweep.name,
        "model": "toy-XS",
        "samples_seen": samples,
        "global_batch_size": 32,
        "data": {"train": ["nowhere"]},
        "optimizer": {"lr": 1e-3},
    }
    run = RunDir.create(sweep.parent, validate(RunConfig, values, "test"))
    if behaviour:
        (run.path / "behaviour").write_text(behaviour)
    return run


def training(run: RunDir, processes: int = 1) -> Task:
    return Task(run.name, "train", str(run.path), (str(TRAINER), str(run.path)), processes, 10.0)


def seen(run: RunDir, what: str) -> list[dict[str, Any]]:
    file = run.path / "seen"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [row for row in rows if row["what"] == what]


def kinds(run: RunDir) -> list[str]:
    return [end.kind for end in read_ends(run.ends_file)]


def wait_for(what: Callable[[], object], job: SubmittedJob) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > deadline:
            log = Path(job.log)
            pytest.fail(log.read_text() if log.exists() else "the job has no log")
        time.sleep(0.1)


def record(job: SubmittedJob) -> JobRecord | None:
    return JobRecord.read(Path(job.record))


def has_ended(job: SubmittedJob) -> bool:
    found = record(job)
    return found is not None and found.ended


def most_at_once(runs: Sequence[RunDir]) -> int:
    """Of the trainings that ended well."""
    spans = [(seen(run, "start")[-1]["at"], seen(run, "end")[-1]["at"]) for run in runs]
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


def test_a_node_is_shared_and_what_fails_does_not_keep_the_others_from_their_end(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = tmp_path / "packed"
    well = [make_run(sweep, f"well-{number}", "meet 4") for number in range(4)]
    crashing, wrong = make_run(sweep, "crashing", "crash 3"), make_run(sweep, "wrong", "bad-input")
    large, left = make_run(sweep, "large", "out-of-memory"), make_run(sweep, "left")
    append_end(left.ends_file, End(kind="cancelled"))
    tasks = tuple(training(run) for run in [*well, crashing, wrong, large, left])
    tended = tmp_path / "tended"
    tend = (sys.executable, "-c", f"open({str(tended)!r}, 'a').write('once')")
    (job,) = submit(cluster(), [JobRequest(Shape(1, 4, 1), tasks)], sweep_dir=sweep, number=1, policy=POLICY, tend=tend)
    wait_for(lambda: has_ended(job) and tended.exists() and tended.read_text(), job)

    assert [kinds(run) for run in well] == [["done"]] * 4
    assert most_at_once(well) == 4
    gpus = {seen(run, "start")[0]["SLURM_STEP_GPUS"] for run in well}
    assert len(gpus) == 4, "each has a GPU of its own"
    assert kinds(crashing) == ["crash"] * 3
    assert {end.error for end in read_ends(crashing.ends_file)} == {"told to crash"}
    assert all("told to crash" in Path(end.log or "").read_text() for end in read_ends(crashing.ends_file))
    assert kinds(wrong) == ["bad_input"]
    assert kinds(large) == [*["out_of_memory"] * 4, "done"], "halvings do not count towards the cap"
    assert [end.micro_batch for end in read_ends(large.ends_file)] == [32, 16, 8, 4, None]
    adjustments = Adjustments.of(large)
    assert adjustments is not None
    assert adjustments.micro_batch_size == 2
    assert kinds(left) == ["cancelled"]
    assert tended.read_text() == "once"
    assert len([end for run in well for end in read_ends(run.ends_file) if end.job == job.id]) == 4
    noted = record(job)
    assert noted is not None
    assert all(task.ended for task in noted.tasks)
    assert Counter(task.task for task in noted.tasks)["crashing"] == 3
    wait_for(lambda: slurm.ask("scontrol", "show", "job", job.id, "-o").count("ExitCode=3:0"), job)


def test_the_time_limits_signal_reaches_every_rank_and_the_element_alone_goes_on(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = tmp_path / "limited"
    runs = [make_run(sweep, name, "hold") for name in ("one", "other")]
    requests = [JobRequest(Shape(2, 1, 2), (training(run, 2),)) for run in runs]
    other, job = submit(
        cluster(), requests, sweep_dir=sweep, number=1, policy=POLICY
    )  # the last one has the array's id
    run = runs[1]
    wait_for(lambda: all(len(seen(one, "start")) == 2 and one.status.state == "running" for one in runs), job)
    slurm.ask("scancel", "--signal=USR1", "--batch", job.id)
    wait_for(lambda: len(seen(run, "SIGUSR1")) == 2, job)
    for one in runs:
        (one.path / "behaviour").unlink()
    wait_for(lambda: len(seen(run, "start")) == 4, job)
    first, second = seen(run, "start")[:2], seen(run, "start")[2:]
    assert {row["SLURM_JOB_ID"] for row in first} == {row["SLURM_JOB_ID"] for row in second}
    assert {row["SLURM_RESTART_COUNT"] for row in second} == {"1"}
    told = seen(run, "SIGUSR1")
    assert sorted(row["rank"] for row in told) == [0, 1]
    assert len({row["SLURMD_NODENAME"] for row in told}) == 2
    wait_for(lambda: has_ended(job) and has_ended(other), job)
    ends = read_ends(run.ends_file)
    assert [(end.kind, end.restart) for end in ends] == [("time_limit", 0), ("done", 1)]
    assert (ends[0].exit_code, ends[0].samples_before) == (138, 0)
    assert 0 < ends[0].samples_after == ends[1].samples_before < ends[1].samples_after == run.config.total_samples
    assert kinds(runs[0]) == ["done"], "the other element was left alone"


@pytest.mark.slow
def test_who_stops_a_job_is_told_apart(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = tmp_path / "stopped"
    run, other = make_run(sweep, "a-run", samples=100_000), make_run(sweep, "other", samples=100_000)
    tasks = (training(run), training(other))
    (job,) = submit(cluster(), [JobRequest(Shape(1, 2, 1), tasks)], sweep_dir=sweep, number=1, policy=POLICY)
    wait_for(lambda: seen(run, "start") and run.status.state == other.status.state == "running", job)
    slurm.ask("scontrol", "requeue", job.id)
    wait_for(lambda: len(seen(run, "start")) == 2 and run.status.attempts == other.status.attempts == 2, job)
    # the user gives up one of them, and the job goes on with the other
    (sweep / "launch" / "control.json").write_text('{"cancelled": ["other"]}')
    wait_for(lambda: kinds(other) == ["requeued", "paused"], job)
    slurm.ask("scancel", job.id)
    wait_for(lambda: len(kinds(run)) == 2, job)
    assert kinds(run) == ["requeued", "cancelled"]
    ends = read_ends(run.ends_file)
    assert 0 < ends[0].samples_after == ends[1].samples_before < ends[1].samples_after
    noted = record(job)
    assert noted is not None
    assert noted.told_to_stop == "SIGTERM"


def test_a_paused_sweep_ends_its_jobs_in_order(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = tmp_path / "paused"
    run = make_run(sweep, "a-run", samples=100_000)
    tended = tmp_path / "tended"
    (job,) = submit(
        cluster(),
        [JobRequest(Shape(1, 1, 1), (training(run),))],
        sweep_dir=sweep,
        number=1,
        policy=POLICY,
        tend=("touch", str(tended)),
    )
    wait_for(lambda: run.status.state == "running", job)
    (sweep / "launch" / "control.json").write_text('{"paused": true}')
    slurm.ask("scancel", "--signal=USR1", "--batch", job.id)
    wait_for(lambda: has_ended(job), job)
    assert kinds(run) == ["paused"]
    assert run.checkpoints
    wait_for(lambda: not slurm.ask("squeue", "-h", "-j", job.id).strip(), job)
    assert tended.exists()  # so that `sweep status` tells of it at once


def test_a_waiting_job_that_began_while_the_sweep_was_paused_is_not_taken_for_cancelled(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = tmp_path / "paused-late"
    run = make_run(sweep, "a-run", samples=100_000)
    request = JobRequest(Shape(1, 1, 1), (training(run),))
    (job,) = submit(cluster(), [request], sweep_dir=sweep, number=1, policy=POLICY)
    wait_for(lambda: run.status.state == "running", job)
    (sweep / "launch" / "control.json").write_text('{"paused": true}')
    slurm.ask("scancel", job.id)  # as `pause` does with what waited a moment before
    wait_for(lambda: kinds(run), job)
    assert kinds(run) == ["paused"]


def test_a_run_that_is_cancelled_and_retried_before_it_has_ended_goes_on(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = tmp_path / "retried"
    run = make_run(sweep, "a-run", "linger", samples=500)
    request = JobRequest(Shape(1, 1, 1), (training(run),))
    (job,) = submit(cluster(), [request], sweep_dir=sweep, number=1, policy=POLICY)
    wait_for(lambda: run.status.state == "running", job)
    append_end(run.ends_file, End(kind="cancelled"))
    (sweep / "launch" / "control.json").write_text('{"cancelled": ["a-run"]}')
    wait_for(lambda: seen(run, "SIGUSR1"), job)
    (sweep / "launch" / "control.json").write_text("{}")
    append_end(run.ends_file, End(kind="retry"))
    (run.path / "behaviour").unlink()
    wait_for(lambda: has_ended(job), job)
    assert kinds(run)[:3] == ["cancelled", "retry", "paused"]  # it goes on in this job or the next
