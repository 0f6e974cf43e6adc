"""A launcher on a Slurm that keeps accounts: ends that only the accounting can tell."""

import subprocess
from pathlib import Path

import pytest
from cluster import SlurmCluster
from test_slurm_launch import behave, ends, follow, plan_of, start, starts, wait_until

from mammut_clip.runs.ends import read_ends
from mammut_clip.slurm.accounting import read_accounting

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_a_job_whose_supervisor_was_killed_is_known_by_its_account(
    accounted_slurm: SlurmCluster, tmp_path: Path
) -> None:
    plan = plan_of(1, policy={"crashes": 1, "stalls": 1})
    behave(tmp_path, plan, "sleep 300")
    start(plan, tmp_path)
    wait_until(lambda: "seed1" in starts(tmp_path))
    # as a node's out-of-memory killer would: nobody is left to note anything
    subprocess.run(["pkill", "-KILL", "-f", f"submitit.core._submit {tmp_path}/s/launch/jobs/1"], check=True)
    result = follow(tmp_path)
    assert [run.id for run in result.failed] == ["seed1"], ends(tmp_path, "seed1")
    (end,) = read_ends(tmp_path / "s" / "seed1" / "ends.jsonl")
    assert end.job is not None
    accounted = read_accounting([end.job])
    assert accounted is not None and accounted[end.job].state == "FAILED"
    assert end.kind == "crash", end
