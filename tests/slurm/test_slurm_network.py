"""Nodes with two networks, as at JSC: a training meets and talks on the one that the cluster's file names."""

import json
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cluster_network import ETHERNET, INFINIBAND, NetworkedCluster

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.slurm.script import job_environment
from mammut_clip.slurm.steps import room, step_command
from mammut_clip.slurm.task import Task

pytestmark = pytest.mark.slurm

MEGABYTES = 8
ROUNDS = 4
TASK = """
import json, os, sys, time
from pathlib import Path
import torch
import torch.distributed as dist
from mammut_clip.distributed import start_process, stop_process

process = start_process("cpu")
values = torch.ones({numbers})
for _ in range({rounds}):
    dist.all_reduce(values)
told = {{"rank": process.rank, "address": os.environ["MASTER_ADDR"], "port": int(os.environ["MASTER_PORT"])}}
Path(f"{{process.rank}}.json").write_text(json.dumps(told | {{"value": values[0].item()}}))
deadline = time.monotonic() + 200
while not Path("seen").exists():  # the test looks at our connections
    assert time.monotonic() < deadline, "nobody looks"
    time.sleep(0.05)
process.wait_for_all()
stop_process()
"""


def profile(**network: Any) -> ClusterConfig:
    return ClusterConfig(
        kind="slurm", gpus_per_node=1, time_limit_minutes=5, signal_seconds=60, peak_tflops=1, efficiency=0.5, **network
    )


def script_of(cluster: ClusterConfig, folder: Path) -> str:
    """What a job of this cluster exports, and the step of two ranks that it starts."""
    task = Task("probe", "train", str(folder), ("task.py",), processes=2, seconds=1)
    shape = room(cluster, 2)
    step = step_command(cluster, shape, task, folder / "log", {})
    exports = [f"export {name}={shlex.quote(value)}" for name, value in job_environment(cluster).items()]
    head = f"#!/bin/bash\n#SBATCH --nodes={shape.nodes} --ntasks-per-node=1 --time=5 --output=output --gres=gpu:1"
    return "\n".join([head, *exports, shlex.join(step)]) + "\n"


@dataclass(frozen=True)
class Case:
    """A job on two nodes of its own."""

    cluster: ClusterConfig
    nodes: tuple[str, str]
    suffix: str
    network: str
    used: str
    unused: str


CASES = {
    "ib0 by the profile": Case(
        profile(host_suffix="i", network_interfaces=["ib0"]), ("n1", "n2"), "i", INFINIBAND, "ib0", "eth0"
    ),
    "eth0 without": Case(profile(), ("n3", "n4"), "", ETHERNET, "eth0", "ib0"),
}


@dataclass(frozen=True)
class Seen:
    """What one of the jobs told, and what its second node looked like from outside."""

    told: list[dict[str, Any]]
    connections: set[tuple[str, str, int]]
    sent: dict[str, int]


@pytest.fixture(scope="module")
def seen(networked_slurm: NetworkedCluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """Both jobs, side by side."""
    slurm = networked_slurm
    folders = {name: tmp_path_factory.mktemp("network") for name in CASES}
    before = {name: slurm.bytes_sent(case.nodes[1]) for name, case in CASES.items()}
    for name, folder in folders.items():
        (folder / "task.py").write_text(TASK.format(numbers=MEGABYTES * 2**18, rounds=ROUNDS))
        (folder / "job.sh").write_text(script_of(CASES[name].cluster, folder))
        submit = ["sbatch", f"--nodelist={','.join(CASES[name].nodes)}", "job.sh"]
        subprocess.run(submit, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    files = {name: [folder / f"{rank}.json" for rank in (0, 1)] for name, folder in folders.items()}
    slurm.wait_for("the ranks", lambda: all(file.exists() for pair in files.values() for file in pair))
    connections = {name: slurm.connections(case.nodes[1]) for name, case in CASES.items()}
    for folder in folders.values():
        (folder / "seen").touch()
    slurm.wait_for("the jobs to end", lambda: not slurm.ask("squeue", "-h").strip())
    found = {}
    for name, case in CASES.items():
        sent = {key: count - before[name][key] for key, count in slurm.bytes_sent(case.nodes[1]).items()}
        found[name] = Seen([json.loads(file.read_text()) for file in files[name]], connections[name], sent)
    return found


@pytest.mark.parametrize("name", CASES)
def test_ranks_meet_and_talk_on_the_network_that_the_profile_names(
    networked_slurm: NetworkedCluster, seen: dict[str, Seen], name: str
) -> None:
    case, job = CASES[name], seen[name]
    first, second = (networked_slurm.address(node, case.network) for node in case.nodes)
    assert [(one["rank"], one["address"], one["value"]) for one in job.told] == [
        (rank, f"{case.nodes[0]}{case.suffix}", 2.0**ROUNDS) for rank in (0, 1)
    ]
    assert (second, first, job.told[0]["port"]) in job.connections
    assert job.sent[case.used] > ROUNDS * MEGABYTES * 2**20 / 2
    assert job.sent[case.unused] < 2**20  # srun's and Slurm's own talk goes over eth0
