"""The steps of a job on a real Slurm: ranks of srun and of torchrun that meet, tasks that share a node, signals."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster import SlurmCluster
from cluster_network import NetworkedCluster

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.distributed.torchrun import children
from mammut_clip.slurm.script import job_environment
from mammut_clip.slurm.steps import room, spread, step_command
from mammut_clip.slurm.task import Shape, Task

pytestmark = pytest.mark.slurm

ALONE = """
import json, os, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
told = {key: os.environ.get(key) for key in ("CUDA_VISIBLE_DEVICES", "SLURM_CPUS_ON_NODE", "OF_THE_STEP")}
(folder / f"{sys.argv[2]}.json").write_text(json.dumps(told))
deadline = time.monotonic() + 120
while len(list(folder.glob("*.json"))) < int(sys.argv[3]):  # all at once, or never
    assert time.monotonic() < deadline, "the others do not begin"
    time.sleep(0.05)
"""
TOGETHER = """
import json, os, signal, sys, time
from pathlib import Path
signals = []
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda number, frame: signals.append(number))
import torch
import torch.distributed as dist
from mammut_clip.distributed import start_process, stop_process

folder, to_come = Path(sys.argv[1]), int(sys.argv[2])
process = start_process("cpu")
ranks = torch.zeros(process.world_size)
ranks[process.rank] = 1 + process.local_rank
dist.all_reduce(ranks)
told = {key: os.environ.get(key) for key in ("MASTER_ADDR", "CUDA_VISIBLE_DEVICES", "SLURM_NODEID", "OMP_NUM_THREADS")}
(folder / f"began-{process.rank}").touch()
deadline = time.monotonic() + 120
while len(signals) < to_come:
    assert time.monotonic() < deadline, "no signal comes"
    time.sleep(0.05)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # further ones may come while this ends
told |= {"local_rank": process.local_rank, "ranks": ranks.tolist(), "signals": signals}
(folder / f"{process.rank}.json").write_text(json.dumps(told))
process.wait_for_all()
stop_process()
"""


def profile(**values: object) -> ClusterConfig:
    base = {"kind": "slurm", "time_limit_minutes": 5, "signal_seconds": 60, "peak_tflops": 1, "efficiency": 0.5}
    return ClusterConfig.model_validate(base | {"gpus_per_node": 4, "cores_per_node": 4} | values)


def run_job(slurm: SlurmCluster, cluster: ClusterConfig, shape: Shape, body: list[str], folder: Path) -> None:
    """Run shell lines as a job of this shape, the last of which must succeed."""
    starts = spread(cluster, shape, shape.ranks_per_task)
    per_node = shape.tasks_per_node // starts.ranks * starts.per_node
    options = f"#SBATCH --nodes={shape.nodes} --ntasks-per-node={per_node} --cpus-per-task={starts.cores}"
    more = f"#SBATCH --gres=gpu:{shape.tasks_per_node} --time=5 --output={folder / 'output'} --chdir={folder}"
    exports = [f"export {name}={shlex.quote(value)}" for name, value in job_environment(cluster).items()]
    script = folder / "job.sh"
    script.write_text("\n".join(["#!/bin/bash", options, more, *exports, *body, "echo ended with $? > ended", ""]))
    job = slurm.ask("sbatch", "--parsable", str(script)).strip()  # its --wait looks every half minute only
    slurm.wait_for("the job to end", lambda: not slurm.ask("squeue", "-h", "-j", job).strip(), seconds=300)
    files = [folder / "output", *folder.glob("*.log")]
    logs = "\n".join(f"{file}:\n{file.read_text()}" for file in files if file.exists())
    assert (folder / "ended").read_text() == "ended with 0\n", logs


def told_by(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("[0-9]*.json"))]


def test_small_tasks_share_a_node_each_with_a_gpu_of_its_own(slurm: SlurmCluster, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(ALONE)
    cluster = profile()
    shape = Shape(2, 4, 1)
    lines = []
    for number in range(shape.at_once):
        task = Task(f"t{number}", "train", "", ("task.py", str(tmp_path), str(number), str(shape.at_once)), 1, 1.0)
        command = step_command(cluster, shape, task, tmp_path / f"t{number}%j", {"OF_THE_STEP": "a, b='$HOME'"})
        lines.append(f"{shlex.join(command)} & steps+=($!)")
    run_job(slurm, cluster, shape, [*lines, 'for step in "${steps[@]}"; do wait $step || exit 1; done; true'], tmp_path)
    told = told_by(tmp_path)
    assert sorted(task["CUDA_VISIBLE_DEVICES"] for task in told) == sorted("00112233")
    assert {(task["SLURM_CPUS_ON_NODE"], task["OF_THE_STEP"]) for task in told} == {("1", "a, b='$HOME'")}
    assert sorted(file.name for file in tmp_path.glob("*.log")) == [f"t{n}%j-rank-0.log" for n in range(8)]


def start_together(
    slurm: SlurmCluster, cluster: ClusterConfig, folder: Path, processes: int, signals: int = 0
) -> list[dict[str, Any]]:
    """Run a task of several ranks, and what each of them told; with `signals`, srun gets SIGUSR1 that often."""
    (folder / "task.py").write_text(TOGETHER)
    task = Task("t", "train", "", ("task.py", str(folder), str(min(signals, 1))), processes, 1.0)
    shape = room(cluster, processes)
    began = " && ".join(f"[ -e began-{rank} ]" for rank in range(processes))
    tell = f"until {began}; do sleep 0.1; done; for i in $(seq {signals}); do kill -USR1 $step; sleep 0.5; done"
    step = f"{shlex.join(step_command(cluster, shape, task, folder / 'log', {}))} & step=$!"
    run_job(slurm, cluster, shape, [step, tell if signals else "true", "wait $step"], folder)
    return told_by(folder)


@pytest.mark.slow
def test_ranks_that_srun_starts_meet(slurm: SlurmCluster, tmp_path: Path) -> None:
    told = start_together(slurm, profile(gpus_per_node=1), tmp_path, 2, signals=1)
    assert [(one["SLURM_NODEID"], one["local_rank"], one["ranks"]) for one in told] == [
        ("0", 0, [1, 1]),
        ("1", 0, [1, 1]),
    ]
    assert [one["signals"] for one in told] == [[10], [10]]


def test_torchrun_starts_the_ranks_of_one_node_and_hands_signals_on_as_often_as_they_come(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    told = start_together(slurm, profile(start="torchrun", gpus_per_node=2), tmp_path, 2, signals=3)
    assert [(one["local_rank"], one["ranks"], one["MASTER_ADDR"]) for one in told] == [
        (0, [1, 2], "127.0.0.1"),
        (1, [1, 2], "127.0.0.1"),
    ]
    assert all(one["CUDA_VISIBLE_DEVICES"] == "0,1" and one["OMP_NUM_THREADS"] == "1" for one in told)
    assert all(one["signals"] and set(one["signals"]) == {10} for one in told)


@pytest.mark.slow
def test_torchrun_on_two_nodes(slurm: SlurmCluster, tmp_path: Path) -> None:
    told = start_together(slurm, profile(start="torchrun", gpus_per_node=2), tmp_path, 4)
    assert sorted(one["SLURM_NODEID"] for one in told) == ["0", "0", "1", "1"]
    assert [one["ranks"] for one in told] == [[1, 2, 1, 2]] * 4


@pytest.mark.slow
def test_torchrun_meets_on_the_network_that_the_profile_names(
    networked_slurm: NetworkedCluster, tmp_path: Path
) -> None:
    cluster = profile(start="torchrun", gpus_per_node=1, host_suffix="i", network_interfaces=["ib0"])
    told = start_together(networked_slurm, cluster, tmp_path, 2)
    assert {one["MASTER_ADDR"] for one in told} < {f"n{number}i" for number in (1, 2, 3, 4)}


def test_children_are_found_by_their_parent() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in set(children())
        assert os.getpid() not in set(children())
    finally:
        child.communicate()
