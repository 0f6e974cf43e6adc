"""Sweeps on a real Slurm whose nodes fail to start jobs, and which takes small arrays only."""

from pathlib import Path

import pytest
from cluster_picky import PickyCluster
from test_slurm_launch import behave, follow, journal, plan_of, start, starts, wait_until

from mammut_clip.slurm.queue import QueuedJob, read_queue
from mammut_clip.sweep.holding import is_launch_failure
from mammut_clip.sweep.launch import submit_due, write_table

pytestmark = pytest.mark.slurm


def queued(job_id: str) -> QueuedJob:
    jobs = read_queue()
    assert jobs is not None
    return jobs[job_id]


def test_a_job_that_a_node_failed_to_start_is_released_and_runs_elsewhere(
    picky_slurm: PickyCluster, tmp_path: Path
) -> None:
    picky_slurm.broken.write_text("n1\n")
    start(plan_of(1), tmp_path)
    [job] = journal(tmp_path).jobs
    wait_until(lambda: is_launch_failure(queued(job)))
    wait_until(lambda: picky_slurm.ask("sinfo", "-h", "-n", "n1", "-p", "main", "-o", "%T").startswith("drain"))
    result = follow(tmp_path)
    assert result.finished == ["seed1"] and not result.problems
    assert journal(tmp_path).released == {job} and starts(tmp_path) == {"seed1": [job]}
    picky_slurm.mend()


@pytest.mark.slow
def test_one_that_fails_to_start_again_stays_held_and_is_reported(picky_slurm: PickyCluster, tmp_path: Path) -> None:
    picky_slurm.broken.write_text("n1\nn2\nn3\nn4\n")
    start(plan_of(1), tmp_path)
    [job] = journal(tmp_path).jobs
    wait_until(lambda: is_launch_failure(queued(job)))
    submit_due(tmp_path / "s", refresh=write_table)
    assert journal(tmp_path).released == {job}
    wait_until(lambda: is_launch_failure(queued(job)) and queued(job).restarts > 1)
    result = follow(tmp_path)
    assert "held" in result.problems["seed1"] and result.exit_code == 3
    assert not starts(tmp_path)
    picky_slurm.mend()
    picky_slurm.ask("scontrol", "release", job)
    assert follow(tmp_path).finished == ["seed1"]


def test_an_array_that_is_refused_is_taken_by_halves(picky_slurm: PickyCluster, tmp_path: Path) -> None:
    plan = plan_of(*range(1, 10), per_job=1, whole_nodes=False, limits={"submissions_per_minute": 1000})
    behave(tmp_path, plan, "sleep 1")
    result = start(plan, tmp_path)
    assert len(result.queued) == 4 and "Invalid job array" in result.note and result.exit_code == 0
    assert [len(one.tasks) for one in journal(tmp_path).submissions.values()][:2] == [9, 4]
    result = follow(tmp_path)
    assert len(result.finished) == 9 and not result.failed
    assert all(len(of_run) == 1 for of_run in starts(tmp_path).values())
