"""Processes that srun starts itself, with nothing between: who they are, and that they meet."""

import json
import subprocess
import sys
from typing import Any

import pytest
from cluster import SlurmCluster

from mammut_clip.distributed.meeting import first_host

pytestmark = pytest.mark.slurm

TASK = """
import json, os, sys, time
from pathlib import Path
import torch
import torch.distributed as dist
from mammut_clip.distributed import start_process, stop_process

name, other = sys.argv[1], sys.argv[2:]
process = start_process("cpu")
ranks = torch.zeros(process.world_size)
ranks[process.rank] = 1 + process.local_rank
if dist.is_initialized():
    dist.all_reduce(ranks)
told = {key: os.environ.get(key) for key in ("MASTER_ADDR", "MASTER_PORT", "SLURM_NODEID", "SLURM_JOB_ID")}
told |= {key: getattr(process, key) for key in ("rank", "world_size", "local_rank", "local_world_size")}
Path(f"{name}-{process.rank}.json").write_text(json.dumps(told | {"ranks": ranks.tolist()}))
deadline = time.monotonic() + 200
while other and not Path(f"{other[0]}-0.json").exists():  # the group lives on until the other step has its own
    assert time.monotonic() < deadline, "the other step does not begin"
    time.sleep(0.05)
process.wait_for_all()
stop_process()
"""
STEPS = """#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=2 --time=10 --output=output
set -ex
srun -N2 -n4 {python} task.py four
srun -N2 -n2 --exact {python} task.py left right &
left=$!
srun -N2 -n2 --exact {python} task.py right left
wait $left
{python} task.py batch &
batch=$!
srun -N1 -n1 {python} task.py one
wait $batch
srun -N2 -n2 bash -c '{python} -m torch.distributed.run --nnodes 2 --nproc-per-node 1 \\
    --node-rank $SLURM_NODEID --master-addr 127.0.0.1 --master-port $((10000 + SLURM_JOB_ID % 20000)) task.py torchrun'
touch done
"""


@pytest.fixture(scope="module")
def told(slurm: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Step -> what each rank of it told, in order."""
    folder = tmp_path_factory.mktemp("steps")
    (folder / "task.py").write_text(TASK)
    (folder / "job.sh").write_text(STEPS.format(python=sys.executable))
    submitted = subprocess.run(
        ["sbatch", "--parsable", "job.sh"], cwd=folder, capture_output=True, text=True, check=True
    )
    job = submitted.stdout.strip()  # sbatch --wait looks every half minute only
    slurm.wait_for("the job to end", lambda: not slurm.ask("squeue", "-h", "-j", job).strip(), seconds=500)
    assert (folder / "done").exists(), (folder / "output").read_text()
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(folder.glob("*.json")):
        found.setdefault(file.name.split("-")[0], []).append(json.loads(file.read_text()))
    return found


def test_tasks_of_two_nodes_know_their_ranks_and_meet(told: dict[str, list[dict[str, Any]]]) -> None:
    places = [(task["rank"], task["SLURM_NODEID"], task["local_rank"]) for task in told["four"]]
    assert places == [(0, "0", 0), (1, "0", 1), (2, "1", 0), (3, "1", 1)]
    for task in told["four"]:
        assert (task["world_size"], task["local_world_size"]) == (4, 2)
        assert task["ranks"] == [1, 2, 1, 2]
        # the nodes' names do not resolve here; Slurm knows them by this address
        assert task["MASTER_ADDR"] == "127.0.0.1"
        assert int(task["MASTER_PORT"]) == 12_000 + 101 * int(task["SLURM_JOB_ID"]) % 20_000


def test_two_steps_of_one_job_meet_side_by_side(told: dict[str, list[dict[str, Any]]]) -> None:
    ports = {step: {task["MASTER_PORT"] for task in told[step]} for step in ("left", "right")}
    assert [len(port) for port in ports.values()] == [1, 1]
    assert ports["left"] != ports["right"]
    for task in told["left"] + told["right"]:
        assert (task["world_size"], task["local_world_size"], task["local_rank"]) == (2, 1, 0)
        assert task["ranks"] == [1, 1]


@pytest.mark.parametrize("step", ["one", "batch"])
def test_one_process_is_alone_in_a_job_too(told: dict[str, list[dict[str, Any]]], step: str) -> None:
    (task,) = told[step]
    assert (task["rank"], task["world_size"], task["local_world_size"], task["MASTER_ADDR"]) == (0, 1, 1, None)


def test_torchrun_in_a_step_of_one_task_per_node_decides(told: dict[str, list[dict[str, Any]]]) -> None:
    assert [(task["rank"], task["SLURM_NODEID"]) for task in told["torchrun"]] == [(0, "0"), (1, "1")]
    for task in told["torchrun"]:
        assert (task["world_size"], task["local_world_size"], task["ranks"]) == (2, 1, [1, 1])


@pytest.mark.parametrize("nodes", ["n1", "jwb[0021-0022,0030],login", "rack[2-3]node[05-07],n1", "a-b[1],c[3,7-9]"])
def test_the_first_host_is_the_one_that_slurm_says(slurm: SlurmCluster, nodes: str) -> None:
    assert first_host(nodes) == slurm.ask("scontrol", "show", "hostnames", nodes).split()[0]
