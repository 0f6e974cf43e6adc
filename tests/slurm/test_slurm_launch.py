"""Sweeps launched on a real Slurm through submitit, with a trainer that only keeps the records."""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cluster import SlurmCluster

from mammut_clip.config import InputError
from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.load import validate
from mammut_clip.config.sweep import SweepConfig
from mammut_clip.runs import RunDir
from mammut_clip.slurm.queue import read_queue
from mammut_clip.sweep import LaunchResult, Plan, launch, make_plan

pytestmark = pytest.mark.slurm

STANDIN = [sys.executable, str(Path(__file__).parents[1] / "sweep" / "standin_trainer.py")]
CLUSTER: dict[str, Any] = {
    "kind": "slurm",
    "gpus_per_node": 2,
    "time_limit_minutes": 5,
    "signal_seconds": 30,
    "setup": ["export FROM_SETUP='a b'"],
    "environment": {"CLUSTER_SAYS": "it's $HOME; `x`"},
    "peak_tflops": 1,
    "efficiency": 0.5,
}


def plan_of(*seeds: int, gpus: int = 1, **cluster: Any) -> Plan:
    base = {"model": "toy-XS", "samples_seen": 1280, "global_batch_size": 128, "data": {"train": "d"}}
    values = {"name": "s", "base": {**base, "optimizer": {"lr": 1e-3}}, "axes": {"seed": list(seeds)}, "gpus": gpus}
    return make_plan(validate(SweepConfig, values, "s.yaml"), ClusterConfig(**{**CLUSTER, **cluster}))


def start(plan: Plan, root: Path, **more: Any) -> LaunchResult:
    return launch(plan, root, trainer_command=STANDIN, poll_seconds=0.2, **more)


def behave(root: Path, plan: Plan, behaviour: str) -> None:
    for planned in plan.runs:
        (RunDir.create(root, planned.config).path / "behaviour").write_text(behaviour)


def starts(root: Path) -> dict[str, list[str]]:
    """Run -> id of the Slurm job of each start."""
    lines = {file.parent.name: file.read_text().splitlines() for file in root.glob("s/*/starts")}
    return {run_id: [line.split()[1] for line in of_run] for run_id, of_run in lines.items()}


def wait_until(condition: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def jobs(root: Path) -> dict[str, Any]:
    return json.loads((root / "s" / "launch" / "jobs.json").read_text())


def test_a_sweep_is_submitted_once_and_finishes(slurm: SlurmCluster, tmp_path: Path, monkeypatch: Any) -> None:
    plan = plan_of(1, 2, gpus=2)
    behave(tmp_path, plan, "sleep 3")
    first = start(plan, tmp_path)
    assert sorted(first.queued) == ["seed1", "seed2"]
    recorded = jobs(tmp_path)

    monkeypatch.chdir("/")  # jobs are found, and find the package, from anywhere
    assert sorted(start(plan, tmp_path).queued) == ["seed1", "seed2"]
    with monkeypatch.context() as away:  # squeue's failure says nothing about the jobs
        (tmp_path / "broken.conf").write_text("NoSuchKey=1\n")
        away.setenv("SLURM_CONF", str(tmp_path / "broken.conf"))
        assert read_queue() is None
        unknown = start(plan, tmp_path)
        assert sorted(unknown.queued) == ["seed1", "seed2"]
        assert "does not answer" in unknown.note
    # a launcher that died between sbatch and its answer leaves no id; the name is looked for
    forgotten = {run_id: {**values, "job_id": None} for run_id, values in recorded.items()}
    (tmp_path / "s" / "launch" / "jobs.json").write_text(json.dumps(forgotten))
    done = start(plan, tmp_path, wait=True)
    assert done.finished == ["seed1", "seed2"]
    assert jobs(tmp_path) == recorded
    assert starts(tmp_path) == {run_id: [values["job_id"]] for run_id, values in recorded.items()}

    ranks = [json.loads((tmp_path / "s" / "seed1" / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0] == ranks[1]
    assert ranks[0]["MASTER_ADDR"] is None  # the trainer finds it
    assert ranks[0]["SRUN_CPUS_PER_TASK"] == ranks[0]["OMP_NUM_THREADS"] == "1"
    assert ranks[0]["CLUSTER_SAYS"] == CLUSTER["environment"]["CLUSTER_SAYS"]
    assert "exit code 0" in Path(recorded["seed1"]["log"]).read_text()
    assert start(plan, tmp_path).queued == []


def test_the_signal_before_the_time_limit_requeues_the_job_under_its_id(slurm: SlurmCluster, tmp_path: Path) -> None:
    plan = plan_of(1)
    behave(tmp_path, plan, "sleep-once 60")
    start(plan, tmp_path)
    wait_until(lambda: starts(tmp_path))
    job_id = jobs(tmp_path)["seed1"]["job_id"]
    slurm.ask("scancel", "--signal=USR2", job_id)  # what --signal sends
    wait_until(lambda: RunDir(tmp_path / "s" / "seed1").status.state == "interrupted")
    assert start(plan, tmp_path, wait=True).finished == ["seed1"]
    assert starts(tmp_path) == {"seed1": [job_id, job_id]}


def test_failures_are_tried_again_and_a_cancelled_job_is_not(slurm: SlurmCluster, tmp_path: Path) -> None:
    plan = plan_of(1, 2, 3)
    behave(tmp_path, plan, "fail")
    (tmp_path / "s" / "seed2" / "behaviour").write_text("sleep 60")
    (tmp_path / "s" / "seed3" / "behaviour").write_text("die-once")

    def cancel() -> None:
        wait_until(lambda: "seed2" in starts(tmp_path))
        slurm.ask("scancel", jobs(tmp_path)["seed2"]["job_id"])

    with ThreadPoolExecutor() as pool:
        cancelled = pool.submit(cancel)
        result = start(plan, tmp_path, wait=True)
        cancelled.result()
    assert result.finished == ["seed3"]
    errors = {run.id: run.error for run in result.failed}
    assert errors["seed1"] == "ValueError: told to"
    assert "cancelled" in errors["seed2"]
    assert {run_id: len(of_run) for run_id, of_run in starts(tmp_path).items()} == {"seed1": 2, "seed2": 1, "seed3": 2}


def test_a_job_that_sbatch_refuses_is_an_error_in_its_words(slurm: SlurmCluster, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sbatch refused the job seed1[\s\S]*[Pp]artition"):
        start(plan_of(1, partition="nosuch"), tmp_path)
    assert start(plan_of(1), tmp_path, wait=True).finished == ["seed1"]
