"""Sweeps launched on a real Slurm, with a trainer that only keeps the records: launch, look, pause, cancel, retry."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster import SlurmCluster

from mammut_clip.config import InputError
from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.runs import RunDir
from mammut_clip.runs.ends import read_ends
from mammut_clip.sweep import LaunchResult, Plan, launch, make_plan
from mammut_clip.sweep.journal import Journal
from mammut_clip.sweep.launch import submit_due, write_table
from mammut_clip.sweep.stored import Launched
from mammut_clip.sweep.verbs import cancel, pause, resume, retry
from mammut_clip.sweep.watch import watch

pytestmark = pytest.mark.slurm

STANDIN = [sys.executable, str(Path(__file__).parents[1] / "sweep" / "standin_trainer.py")]
CLUSTER: dict[str, Any] = {
    "kind": "slurm",
    "gpus_per_node": 4,
    "time_limit_minutes": 5,
    "signal_seconds": 30,
    "environment": {"CLUSTER_SAYS": "it's $HOME; `x`"},
    "limits": {"submissions_per_minute": 1000},
    "peak_tflops": 1,
    "efficiency": 0.5,
}
BASE: dict[str, Any] = {"model": "toy-XS", "samples_seen": 1280, "global_batch_size": 128, "data": {"train": "d"}}


def plan_of(
    *seeds: int, gpus: int = 1, policy: dict[str, Any] | None = None, per_job: int | None = None, **cluster: Any
) -> Plan:
    values = {"name": "s", "base": {**BASE, "optimizer": {"lr": 1e-3}}, "axes": {"seed": list(seeds)}, "gpus": gpus}
    values |= {"policy": {"backoff_seconds": 0.1, **(policy or {})}, "runs_per_job": per_job}
    return make_plan(validate(SweepConfig, values, "s.yaml"), ClusterConfig(**{**CLUSTER, **cluster}))


def start(plan: Plan, root: Path, **more: Any) -> LaunchResult:
    return launch(plan, root, trainer_command=STANDIN, poll_seconds=0.3, **more)


def follow(root: Path) -> LaunchResult:
    return watch(root / "s", refresh=write_table, report=lambda _: None, poll_seconds=0.3)


def behave(root: Path, plan: Plan, behaviour: str) -> None:
    for planned in plan.runs:
        (RunDir.create(root, planned.config).path / "behaviour").write_text(behaviour)


def starts(root: Path) -> dict[str, list[str]]:
    """Run -> id of the Slurm job of each start."""
    lines = {file.parent.name: file.read_text().splitlines() for file in root.glob("s/*/starts")}
    return {run_id: [line.split()[1] for line in of_run] for run_id, of_run in lines.items()}


def ends(root: Path, run_id: str) -> list[str]:
    return [end.kind for end in read_ends(root / "s" / run_id / "ends.jsonl")]


def launched(root: Path) -> Launched:
    return Launched.at(root / "s")


def journal(root: Path) -> Journal:
    return Journal.open(launched(root).folder)


def wait_until(condition: Callable[[], Any], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_sweep_is_submitted_once_packed_and_finishes(slurm: SlurmCluster, tmp_path: Path, monkeypatch: Any) -> None:
    plan, go = plan_of(1, 2, 3), tmp_path / "go"
    behave(tmp_path, plan, f"until {go}")
    first = start(plan, tmp_path)
    assert first.queued == ["seed1", "seed2", "seed3"]
    [job] = journal(tmp_path).jobs.values()
    assert sorted(job.task_ids) == ["seed1", "seed2", "seed3"]  # side by side on one node

    monkeypatch.chdir("/")  # jobs are found, and find the package, from anywhere
    assert start(plan, tmp_path).queued == first.queued
    with monkeypatch.context() as away:  # squeue's failure says nothing about the jobs
        (tmp_path / "broken.conf").write_text("NoSuchKey=1\n")
        away.setenv("SLURM_CONF", str(tmp_path / "broken.conf"))
        unknown = start(plan, tmp_path)
        assert unknown.queued == first.queued and "does not answer" in unknown.note
        assert not json.loads((tmp_path / "s" / "launch" / "queue.json").read_text())["answered"]
    # a launcher that died between sbatch and its answer leaves no id; the name is looked for
    lines = journal(tmp_path).file.read_text().splitlines(keepends=True)
    journal(tmp_path).file.write_text("".join(line for line in lines if '"taken"' not in line))
    assert start(plan, tmp_path).queued == first.queued
    assert journal(tmp_path).jobs == {job.id: job}
    go.touch()
    done = start(plan, tmp_path, wait=True)
    assert done.finished == ["seed1", "seed2", "seed3"] and not done.queued and done.exit_code == 0
    assert starts(tmp_path) == {run_id: [job.id] for run_id in done.finished}
    assert (tmp_path / "s" / "results.parquet").is_file()
    rank = json.loads((tmp_path / "s" / "seed1" / "rank-0.json").read_text())
    assert rank["CLUSTER_SAYS"] == CLUSTER["environment"]["CLUSTER_SAYS"]


RACER = """
import sys; sys.path[:] = {path!r}
from pathlib import Path
import test_slurm_launch as t
print(t.start(t.plan_of(*range(1, 7), whole_nodes=False, per_job=1), Path({root!r})), flush=True)
"""


def test_of_two_launchers_at_once_one_submits(slurm: SlurmCluster, tmp_path: Path) -> None:
    wait_until(lambda: not slurm.ask("squeue", "-h").strip())  # of other tests
    go = tmp_path / "go"
    behave(tmp_path, plan_of(*range(1, 7)), f"until {go}")
    script = RACER.format(path=sys.path, root=str(tmp_path))
    racers = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [racer.communicate(timeout=300)[0] for racer in racers]
    assert all("6 in the queue" in words for words in said)
    assert len(journal(tmp_path).submissions) == 1 and len(journal(tmp_path).jobs) == 6  # one array
    assert len(slurm.ask("squeue", "-h", "--array").splitlines()) == 6
    go.touch()
    result = follow(tmp_path)
    assert len(result.finished) == 6
    assert all(len(of_run) == 1 for of_run in starts(tmp_path).values())


@pytest.mark.slow
def test_crashes_are_tried_again_and_given_up_and_the_users_scancel_is_never_undone(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    plan = plan_of(1, 2, 3, whole_nodes=False, per_job=1, policy={"crashes": 2})
    behave(tmp_path, plan, "fail")
    (tmp_path / "s" / "seed2" / "behaviour").write_text("sleep 60")
    (tmp_path / "s" / "seed3" / "behaviour").write_text("die-once")
    start(plan, tmp_path)
    wait_until(lambda: "seed2" in starts(tmp_path))
    of_seed2 = next(job.id for job in journal(tmp_path).jobs.values() if job.task_ids == ("seed2",))
    slurm.ask("scancel", of_seed2)
    result = follow(tmp_path)
    assert result.finished == ["seed3"] and result.cancelled == ["seed2"] and result.exit_code == 3
    [failed] = result.failed
    assert failed.id == "seed1" and "ValueError: told to" in failed.error
    assert ends(tmp_path, "seed1") == ["crash", "crash"] and ends(tmp_path, "seed3") == ["crash", "done"]
    assert ends(tmp_path, "seed2") == ["cancelled"]
    again = start(plan, tmp_path)
    assert not again.queued and again.cancelled == ["seed2"]

    for run_id in ("seed1", "seed2"):
        (tmp_path / "s" / run_id / "behaviour").unlink()
    assert retry(launched(tmp_path), ["seed1"]).runs == ["seed1"]
    assert retry(launched(tmp_path), []).runs == ["seed2"]
    assert follow(tmp_path).finished == ["seed1", "seed2", "seed3"]


def test_pause_ends_jobs_in_good_order_and_resume_goes_on(slurm: SlurmCluster, tmp_path: Path) -> None:
    plan = plan_of(1, 2, whole_nodes=False, per_job=1, limits={"submissions_per_minute": 1000, "running": 1})
    behave(tmp_path, plan, "sleep-once 60")
    start(plan, tmp_path)
    wait_until(lambda: starts(tmp_path))
    done = pause(launched(tmp_path))
    assert (done.withdrawn, done.told) == (1, 1)
    result = follow(tmp_path)  # until all has ended
    assert not result.queued and "paused" in result.note
    [begun] = starts(tmp_path)
    assert RunDir(tmp_path / "s" / begun).status.state == "interrupted"
    assert [end for run_id in ("seed1", "seed2") for end in ends(tmp_path, run_id)] == ["paused"]
    assert not start(plan, tmp_path).queued

    resume(launched(tmp_path))
    (tmp_path / "s" / ({"seed1", "seed2"} - {begun}).pop() / "behaviour").unlink()
    assert submit_due(tmp_path / "s", refresh=write_table).queued == ["seed1", "seed2"]
    assert follow(tmp_path).finished == ["seed1", "seed2"]


@pytest.mark.slow
def test_cancel_takes_one_run_out_of_a_job_that_goes_on(slurm: SlurmCluster, tmp_path: Path) -> None:
    plan = plan_of(1, 2)
    behave(tmp_path, plan, "sleep 60")
    (tmp_path / "s" / "seed2" / "behaviour").write_text("sleep 8")
    start(plan, tmp_path)
    wait_until(lambda: len(starts(tmp_path)) == 2)
    with pytest.raises(InputError, match=r"no run 'seed3'.*seed1"):
        cancel(launched(tmp_path), ["seed3"])
    assert cancel(launched(tmp_path), ["seed1"]).told == 1
    result = follow(tmp_path)
    assert result.finished == ["seed2"] and result.cancelled == ["seed1"] and not result.failed
    assert RunDir(tmp_path / "s" / "seed1").status.state == "interrupted"


def test_what_sbatch_refuses_is_an_error_in_its_words_and_a_hopeless_job_is_reported(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"sbatch refused[\s\S]*[Pp]artition"):
        start(plan_of(1, partition="nosuch"), tmp_path)
    with pytest.raises(InputError, match=r"sbatch refused[\s\S]*node"):
        start(plan_of(1, gpus=64), tmp_path)  # sixteen nodes of four
    assert not (tmp_path / "s").exists()  # all is checked before anything is written
    result = start(plan_of(1, sbatch_options=["--hold"]), tmp_path, wait=True)
    assert "held" in result.problems["seed1"] and result.exit_code == 3
    assert cancel(launched(tmp_path), []).withdrawn == 1
    retry(launched(tmp_path), ["seed1"])
    assert start(plan_of(1), tmp_path, wait=True).finished == ["seed1"]


def test_jobs_that_end_submit_what_the_site_had_no_room_for_and_nobody_watches(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    wait_until(lambda: not slurm.ask("squeue", "-h").strip())  # of other tests
    plan = plan_of(1, 2, per_job=1, limits={"submissions_per_minute": 1000, "jobs": 1, "array_size": 1})
    result = start(plan, tmp_path)
    assert result.queued == ["seed1"] and "limits.jobs" in result.note
    wait_until(lambda: all(RunDir(tmp_path / "s" / f"seed{n}").status.state == "finished" for n in (1, 2)))
    assert all(len(of_run) == 1 for of_run in starts(tmp_path).values())
    assert len(journal(tmp_path).submissions) == 2
