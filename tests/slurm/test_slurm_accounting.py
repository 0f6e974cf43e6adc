"""One sacct on a real Slurm with slurmdbd, of jobs that ended in many ways."""

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from cluster_database import AccountedCluster
from cluster_files import this_user

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.slurm import control
from mammut_clip.slurm.accounting import AccountedJob, read_accounting
from mammut_clip.slurm.doctor.finding import Finding
from mammut_clip.slurm.doctor.site import check_limits_of_user
from mammut_clip.slurm.ends import how_job_ended
from mammut_clip.slurm.queue import read_queue
from mammut_clip.slurm.record import JobRecord

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def submit(script: str, *options: str) -> str:
    command = ["sbatch", "--parsable", "--output=/dev/null", "--requeue", *options]
    text = f"#!/bin/bash\n{script}\n"
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout.strip()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, read_queue()
        time.sleep(0.1)


def accounts(*ids: str) -> dict[str, AccountedJob]:
    found = read_accounting(ids)
    assert found is not None
    return found


def state(job: str) -> str:
    queued = (read_queue() or {}).get(job)
    return "" if queued is None else queued.state


def test_the_newest_record_counts_and_the_older_ones_are_its_history(accounted_slurm: AccountedCluster) -> None:
    began = time.time()
    victim = submit("trap '' TERM; sleep 60", "--nodelist=n3", "--cpus-per-task=4")
    moved, lost = submit("sleep 60", "--nodelist=n1"), submit("sleep 60", "--nodelist=n2", "--no-requeue")
    ended, waiting = submit("sleep 60", "--nodelist=n1"), submit("true", "--hold")
    good, bad = submit("true"), submit("exit 3")
    unwritable = submit("true", "--output=/proc/nowhere")
    array = submit("sleep 1", "--array=0-3%1", "--nodelist=n4")
    wait_for(lambda: all(state(job) == "RUNNING" for job in (victim, moved, lost, ended)))
    control.cancel([ended, waiting, f"{array}_2"])
    accounted_slurm.ask("scontrol", "requeue", moved)
    submit("true", "--partition=high", "--nodelist=n3", "--cpus-per-task=4")
    accounted_slurm.ask("scontrol", "update", "NodeName=n2", "State=down", "Reason=test")
    wait_for(lambda: state(lost) == "NODE_FAIL")
    accounted_slurm.ask("scontrol", "update", "NodeName=n2", "State=resume")
    ids = [victim, moved, lost, ended, waiting, good, bad, unwritable, *(f"{array}_{n}" for n in (0, 2, 3)), "99999"]
    wait_for(lambda: accounts(victim)[victim].history == ("PREEMPTED",))
    wait_for(lambda: accounts(moved)[moved].history == ("REQUEUED",) and state(moved) == "RUNNING")
    wait_for(lambda: accounts(f"{array}_3").get(f"{array}_3", AccountedJob("", "")).is_over)
    found = accounts(*ids)
    assert ids[-1] not in found
    assert f"{array}_2" not in found  # cancelled before it began
    assert {job: found[job].state for job in (lost, ended, waiting, good, bad, unwritable, f"{array}_0")} == {
        lost: "NODE_FAIL",
        ended: "CANCELLED",
        waiting: "CANCELLED",
        good: "COMPLETED",
        bad: "FAILED",
        unwritable: "FAILED",
        f"{array}_0": "COMPLETED",
    }
    assert found[ended].cancelled_by == found[waiting].cancelled_by == os.getuid()
    assert [found[job].exit_code for job in (good, bad, unwritable, moved)] == [0, 3, 181, None]
    assert (found[waiting].nodes, found[waiting].began) == ("", None)
    assert found[ended].nodes == "n1"
    assert began - 2 < (found[ended].began or 0) <= (found[ended].ended or 0) < time.time() + 1
    record = JobRecord(job=victim, began=began, told_to_stop="SIGTERM")
    queue = read_queue() or {}
    assert how_job_ended(record, queue[victim], found[victim]) == "preempted"
    assert how_job_ended(record, queue[moved], found[moved]) == "requeued"
    assert read_accounting([good], since=began - 5) == {good: found[good]}
    wait_for(lambda: time.time() > (found[good].ended or 0) + 2)
    assert read_accounting([good], since=(found[good].ended or 0) + 1) == {}
    control.cancel([victim, moved])


def test_the_doctor_knows_what_the_user_may_do(accounted_slurm: AccountedCluster) -> None:
    def looked_at(**values: Any) -> dict[str, Finding]:
        site = ClusterConfig(kind="slurm", time_limit_minutes=60, peak_tflops=1, efficiency=0.5, **values)
        return {finding.what: finding for finding in check_limits_of_user(site)}

    accounted_slurm.ask("sacctmgr", "-i", "modify", "user", this_user(), "set", "maxsubmitjobs=3")
    assert looked_at()["job limit"].advice.startswith("set limits.jobs: 3")
    assert looked_at(limits={"jobs": 3}).keys() == {"account"}
    assert looked_at(account="lba")["account"].verdict == "problem"
    assert looked_at(account="lab", qos="fast")["qos"].advice == "set qos to one of normal"
    accounted_slurm.ask("sacctmgr", "-i", "modify", "user", this_user(), "set", "maxsubmitjobs=-1")


def test_thousands_of_ids_are_one_call_and_no_answer_is_unknown(accounted_slurm: AccountedCluster) -> None:
    good = submit("true")
    many = [str(number) for number in range(100_000, 104_998)]
    wait_for(lambda: accounts(good).get(good, AccountedJob("", "")).is_over)
    began = time.monotonic()
    assert accounts(*many, good).keys() == {good}
    assert time.monotonic() - began < 10
    accounted_slurm.kill_accounting()
    assert read_accounting([good]) is None
