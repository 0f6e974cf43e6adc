"""Tasks inside a job: how much room they need, and the srun that starts the ranks of one.

    srun --nodes=1 --ntasks=4 ... python -u -m mammut_clip.train RUN                           one Slurm task per rank
    srun --nodes=2 --ntasks=2 ... python -u -m mammut_clip.distributed.torchrun 4 -m ...       one per node

Steps that share a job's nodes name all they take, or the first would take everything and the others wait: their cores
(--exact), their GPUs, and none of the memory that Slurm counts (--mem=0: they share the job's).
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import InputError
from mammut_clip.slurm.task import Shape, Task


def ranks_per_node(cluster: ClusterConfig) -> int:
    """Ranks that one node has room for: one per GPU; without GPUs, as its cores allow."""
    if cluster.gpus_per_node:
        return cluster.gpus_per_node
    return max(1, (cluster.cores_per_node or 1) // cluster.cpus_per_task)


def room(cluster: ClusterConfig, processes: int) -> Shape:
    """The smallest job for a task of so many ranks.

    Where a job gets whole nodes, a task that is smaller than a node leaves room for others beside it; not so where
    Slurm does not hand out the GPUs (gpu_request: none), as nobody then shares them out.
    """
    full = ranks_per_node(cluster)
    if processes > full:
        nodes = -(-processes // full)
        return Shape(nodes, full if cluster.whole_nodes else -(-processes // nodes), processes)
    shares = cluster.whole_nodes and not (cluster.gpus_per_node and cluster.gpu_request == "none")
    return Shape(1, full if shares else processes, processes)


@dataclass(frozen=True)
class Spread:
    """How a task's ranks spread over nodes, and what Slurm starts there."""

    nodes: int
    ranks: int
    """On each node; the last may have fewer."""
    per_node: int
    """Slurm tasks on each node: the ranks, or one torchrun."""
    cores: int
    """Of each Slurm task."""
    by_torchrun: bool


def spread(cluster: ClusterConfig, shape: Shape, processes: int) -> Spread:
    """As few nodes as there is room on, and as equal numbers of ranks as there can be."""
    nodes = -(-processes // shape.tasks_per_node)
    ranks = -(-processes // nodes)
    if cluster.start == "torchrun" and processes > 1:
        return Spread(nodes, ranks, 1, ranks * cluster.cpus_per_task, True)
    return Spread(nodes, ranks, ranks, cluster.cpus_per_task, False)


def step_command(
    cluster: ClusterConfig, shape: Shape, task: Task, log: Path, environment: Mapping[str, str]
) -> list[str]:
    """The command that, inside a job of this shape, starts a task's ranks and ends when they have all ended.

    What they print is appended to `log` with `-rank-0.log` and so on (torchrun: `-node-0.log`); its folder must be
    there. `environment` is added to the job's. Raises InputError where torchrun would have to start unequal numbers.
    """
    starts = spread(cluster, shape, task.processes)
    if starts.by_torchrun and starts.nodes * starts.ranks != task.processes:
        raise InputError(
            f"{task.id}: {task.processes} ranks on {starts.nodes} nodes; torchrun starts as many on each node, "
            f"expected a multiple of {starts.nodes} (or `start: srun` in the cluster's file)"
        )
    srun = [
        "srun",
        f"--nodes={starts.nodes}",
        f"--ntasks={starts.nodes if starts.by_torchrun else task.processes}",
        f"--ntasks-per-node={starts.per_node}",
        f"--cpus-per-task={starts.cores}",
        *gpu_options(cluster, starts.ranks),
        # Without it the ranks that are left wait for the one that died until the time limit.
        "--kill-on-bad-exit=1",
        f"--output={str(log).replace('%', '%%')}-{'node' if starts.by_torchrun else 'rank'}-%t.log",
        "--open-mode=append",
        *(["--exact", "--mem=0"] if shape.at_once > 1 else []),
        *cluster.srun_options,
    ]
    variables = dict(environment)
    python = [sys.executable, "-u"]
    if starts.by_torchrun:
        # When one rank has ended with an error, or it was told to end, torchrun gives the others 30 s.
        variables.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(cluster.signal_seconds))
        python += ["-m", "mammut_clip.distributed.torchrun", str(starts.ranks)]
    return [*srun, *_env(variables), *python, *task.arguments]


def gpu_options(cluster: ClusterConfig, per_node: int) -> list[str]:
    """How a job or a step asks for so many GPUs of each node."""
    if not cluster.gpus_per_node or cluster.gpu_request == "none":
        return []
    return [f"--gres=gpu:{per_node}" if cluster.gpu_request == "gres" else f"--gpus-per-node={per_node}"]


def _env(variables: Mapping[str, str]) -> list[str]:
    """Not srun's --export, in which a comma ends a value."""
    return ["env", *(f"{name}={value}" for name, value in variables.items())] if variables else []
