"""One squeue on a real Slurm with jobs of many kinds, and what Slurm is told about them."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import SlurmCluster

from mammut_clip.slurm import control
from mammut_clip.slurm.accounting import read_accounting
from mammut_clip.slurm.ends import how_job_ended
from mammut_clip.slurm.errors import SlurmAwayError
from mammut_clip.slurm.queue import QueuedJob, read_queue
from mammut_clip.slurm.waits import why_it_cannot_start

pytestmark = pytest.mark.slurm


def submit(script: str, *options: str) -> str:
    command = ["sbatch", "--parsable", "--output=/dev/null", *options]
    text = f"#!/bin/bash\n{script}\n"
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout.strip()


def queue() -> dict[str, QueuedJob]:
    found = read_queue()
    assert found is not None
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, read_queue()
        time.sleep(0.05)


def test_one_call_shows_what_waits_what_runs_and_how_the_rest_ended(slurm: SlurmCluster) -> None:
    array = submit("sleep 600", "--array=0-69%2", "--job-name=an array")
    held = submit("true", "--hold", "--job-name=held|job, é")
    large = submit("true", "--nodes=9")
    late = submit("true", "--begin=now+1hour")
    long = submit("true", "--partition=short", "--time=30:00")
    good, bad, fault = submit("true"), submit("exit 3"), submit("kill -SEGV $$")
    unwritable = submit("true", "--output=/proc/nowhere")
    running, again = submit("sleep 600"), submit("sleep 600", "--requeue", "--job-name=" + "long" * 40)
    wait_for(lambda: queue()[running].state == queue()[again].state == "RUNNING")
    control.cancel([running, f"{array}_69"])
    slurm.ask("scontrol", "requeue", again)
    wait_for(lambda: all(queue()[job].is_over for job in (running, good, bad, fault, unwritable)))
    wait_for(lambda: queue()[again].restarts == 1)
    jobs = queue()
    assert {job for job in jobs if job.startswith(f"{array}_")} == {f"{array}_{n}" for n in range(69)}
    assert jobs[f"{array}_1"].state == "RUNNING"
    assert jobs[f"{array}_68"].reason == "JobArrayTaskLimit"
    assert jobs[held].name == "held|job, é"
    assert jobs[again].name == "long" * 40
    assert all(why_it_cannot_start(jobs[job]) is not None for job in (held, large, long))
    assert why_it_cannot_start(jobs[late]) is why_it_cannot_start(jobs[f"{array}_68"]) is None
    ends = {job: (jobs[job].state, jobs[job].exit_code) for job in (good, bad, fault, running, unwritable)}
    assert ends == {
        good: ("COMPLETED", 0),
        bad: ("FAILED", 3),
        fault: ("FAILED", 139),
        running: ("CANCELLED", 143),
        unwritable: ("FAILED", 181),
    }
    assert jobs[good].nodes in ("n1", "n2", "n3", "n4")
    assert how_job_ended(None, jobs[running], None) == "cancelled"
    assert how_job_ended(None, jobs[unwritable], None) == "never_began"
    assert not any(jobs[job].is_over for job in (held, late, again, f"{array}_1"))
    assert read_accounting([good]) is None  # there is none here
    control.cancel([array, held, large, late, long, again])
    wait_for(lambda: all(job.is_over for job in queue().values()))


def test_jobs_are_released_kept_from_nodes_hurried_and_signalled(slurm: SlurmCluster, tmp_path: Path) -> None:
    script = f"trap 'exit 7' USR1\ntouch {tmp_path}/$SLURM_JOB_ID\nwhile true; do sleep 0.1; done"
    first, second = submit(script, "--hold"), submit(script, "--hold", "--begin=now+1hour")
    assert control.exclude_nodes([first, second], ["n1", "n3"]) == ""
    assert control.release([first, second]) == ""
    assert control.start_now([second]) == ""
    wait_for(lambda: queue()[first].state == queue()[second].state == "RUNNING")
    assert {queue()[first].nodes, queue()[second].nodes} <= {"n2", "n4"}
    assert "no longer pending" in control.exclude_nodes([first], ["n1"])
    wait_for(lambda: all((tmp_path / job).exists() for job in (first, second)))  # its trap is set
    assert control.send_signal([first, second], "USR1") == ""
    wait_for(lambda: [queue()[job].exit_code for job in (first, second)] == [7, 7])
    assert control.cancel([first, "999999"]) == ""


def test_nodes_that_are_down_are_named(slurm: SlurmCluster) -> None:
    assert control.down_nodes("n[1-4]") == []
    slurm.power_cut("n4")  # or it would be taken back a moment later
    slurm.ask("scontrol", "update", "NodeName=n4", "State=down", "Reason=test")
    try:
        job = submit("true", "--nodelist=n4", "--requeue")
        wait_for(lambda: "n4" in control.down_nodes("n[2-4]"))
        wait_for(lambda: queue()[job].reason.startswith("ReqNodeNotAvail"))
        assert why_it_cannot_start(queue()[job]) is None
        control.cancel([job])
    finally:
        slurm.power_on("n4")
    wait_for(lambda: not control.down_nodes("n[1-4]"))
    assert control.down_nodes("") == []


def test_formats_of_the_user_change_nothing(slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit("true", "--hold", "--array=1-3")
    for name, value in {"SQUEUE_FORMAT": "%i", "SQUEUE_STATES": "R", "SQUEUE_USERS": "nobody"}.items():
        monkeypatch.setenv(name, value)
    assert {f"{job}_1", f"{job}_2", f"{job}_3"} <= queue().keys()
    control.cancel([job])


def test_no_answer_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert read_queue() is None
    assert read_accounting(["1"]) is None
    with pytest.raises(SlurmAwayError):
        control.cancel(["1"])
    with pytest.raises(SlurmAwayError):
        control.down_nodes("n1")


@pytest.mark.slow
def test_a_controller_that_is_dead_or_hangs_is_unknown(slurm: SlurmCluster) -> None:
    for away, back in (
        (slurm.freeze_controller, slurm.thaw_controller),
        (slurm.kill_controller, slurm.start_controller),
    ):
        away()
        try:
            assert read_queue() is None
            with pytest.raises(SlurmAwayError):
                control.cancel(["1"])
        finally:
            back()
    assert read_queue() is not None
