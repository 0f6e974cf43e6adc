"""What befalls a job and its tasks, and takes time: preemption, a node's end, silence, a full disk, another writer."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import SlurmCluster
from test_slurm_supervisor import (
    POLICY,
    cluster,
    has_ended,
    kinds,
    make_run,
    record,
    seen,
    training,
    wait_for,
)

from mammut_clip.runs.ends import read_ends
from mammut_clip.runs.layout import RunDir
from mammut_clip.runs.lease import hold_lease
from mammut_clip.slurm.submit import submit
from mammut_clip.slurm.task import JobRequest, Shape, SubmittedJob

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def run_alone(sweep: Path, run: RunDir, shape: Shape, **policy: float) -> SubmittedJob:
    request = JobRequest(shape, (training(run, shape.ranks_per_task),))
    changed = POLICY.model_copy(update=policy)
    (job,) = submit(cluster(partition="main"), [request], sweep_dir=sweep, number=1, policy=changed)
    return job


def moves(run: RunDir, attempt: int) -> bool:
    return run.status.attempts >= attempt and run.status.state in ("running", "finished")


def test_preemption_by_a_higher_partition(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = tmp_path / "preempted"
    run = make_run(sweep, "a-run", samples=300)
    job = run_alone(sweep, run, Shape(1, 1, 1))
    wait_for(lambda: moves(run, 1), job)
    slurm.ask("sbatch", "--partition=high", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    wait_for(lambda: has_ended(job), job)
    ends = read_ends(run.ends_file)
    assert [end.kind for end in ends] == ["preempted", "done"]
    assert ends[0].advanced


@pytest.mark.parametrize("which", [0, 1], ids=["the first node", "the other node"])
def test_the_end_of_a_node(slurm: SlurmCluster, tmp_path: Path, which: int) -> None:
    sweep = tmp_path / "failed"
    run = make_run(sweep, "a-run", samples=3000)
    job = run_alone(sweep, run, Shape(2, 1, 2))
    wait_for(lambda: moves(run, 1) and len(seen(run, "start")) == 2, job)
    nodes = sorted(row["SLURMD_NODENAME"] for row in seen(run, "start"))
    slurm.power_cut(nodes[which])
    try:
        wait_for(lambda: moves(run, 2), job)
    finally:
        slurm.power_on(nodes[which])
    (end,) = read_ends(run.ends_file)
    assert (end.kind, end.nodes) == ("node_failure", nodes[which])
    slurm.ask("scancel", job.id)
    wait_for(lambda: kinds(run) == ["node_failure", "cancelled"], job)


def test_a_node_that_slurm_has_lost_gives_up_the_job_that_begins_elsewhere(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Its slurmd has died alone: the job's supervisor lives on there, and srun cannot begin anything any more."""
    sweep = tmp_path / "lost"
    run, waiting = make_run(sweep, "a-run", samples=3000), make_run(sweep, "waiting")
    request = JobRequest(Shape(1, 1, 1), (training(run), training(waiting)))
    (job,) = submit(cluster(partition="main"), [request], sweep_dir=sweep, number=1, policy=POLICY)
    wait_for(lambda: moves(run, 1), job)
    node = seen(run, "start")[0]["SLURMD_NODENAME"]
    slurm.lose(node)
    try:
        wait_for(lambda: has_ended(job), job)
    finally:
        slurm.power_on(node)
    (end, *_) = read_ends(run.ends_file)
    assert (end.kind, end.nodes) == ("node_failure", node)
    assert "crash" not in kinds(run)
    assert kinds(waiting) == ["done"]
    found = record(job)
    assert found is not None
    assert found.restart == 1


def test_a_training_that_gives_no_sign_of_life_is_begun_again(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = tmp_path / "silent"
    run = make_run(sweep, "a-run", "silent")
    job = run_alone(sweep, run, Shape(1, 1, 1), silent_minutes=0.3)
    wait_for(lambda: len(seen(run, "silent")) == 1, job)
    (run.path / "behaviour").unlink()
    wait_for(lambda: has_ended(job), job)
    ends = read_ends(run.ends_file)
    assert [end.kind for end in ends] == ["hung", "done"]
    assert ends[0].error == "no sign of life for 0.3 minutes"


def test_a_rank_that_is_killed_has_crashed(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = tmp_path / "killed"
    run = make_run(sweep, "a-run", "die")
    job = run_alone(sweep, run, Shape(1, 1, 1), crashes=1)
    wait_for(lambda: has_ended(job), job)
    (end,) = read_ends(run.ends_file)
    assert (end.kind, end.exit_code) == ("crash", 137)
    assert "SIGKILL" in (end.error or "")


def test_a_run_that_another_process_writes_is_waited_for(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = tmp_path / "taken"
    run = make_run(sweep, "a-run")
    with hold_lease(run.lock_file):
        job = run_alone(sweep, run, Shape(1, 1, 1))
        wait_for(lambda: record(job) is not None, job)
        wait_for(lambda: "another process is writing the run" in Path(job.log).read_text(), job)
        assert seen(run, "start") == []
    wait_for(lambda: has_ended(job), job)
    assert kinds(run) == ["done"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB. Skips without root."""
    if os.geteuid() != 0:
        pytest.skip("to mount a small file system takes root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_waited_out_and_nothing_is_lost(slurm: SlurmCluster, tmp_path: Path, small_disk: Path) -> None:
    sweep = small_disk / "full"
    run = make_run(sweep, "a-run", samples=400)
    job = run_alone(sweep, run, Shape(1, 1, 1), backoff_seconds=5)
    wait_for(lambda: moves(run, 1), job)
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    (run.path / "behaviour").write_bytes(b"")  # an empty file takes no room
    slurm.ask("scancel", "--signal=USR1", f"{job.id}.0")  # its checkpoint finds no room
    timer = threading.Timer(8, ballast.unlink)
    timer.start()
    wait_for(lambda: has_ended(job), job)
    timer.join()
    assert kinds(run) == ["disk_full", "done"]
    found = record(job)
    assert found is not None
    assert [task.ended for task in found.tasks] == [True, True]
