"""The partition and its nodes against the cluster's file."""

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import InputError
from mammut_clip.slurm.ask import ask
from mammut_clip.slurm.doctor.finding import Finding, ok, problem, warning
from mammut_clip.slurm.errors import SlurmAwayError
from mammut_clip.slurm.steps import ranks_per_node, room
from mammut_clip.slurm.submit import refusal

_USABLE = ("idle", "mixed", "allocated", "completing", "planned", "reserved")


@dataclass(frozen=True)
class Node:
    """What sinfo says of one."""

    name: str
    cores: int
    gpus: int
    state: str

    @property
    def usable(self) -> bool:
        return self.state.rstrip("~#!%$@^-").split("+")[0] in _USABLE


def read_nodes(partition: str | None) -> list[Node]:
    """The nodes of a partition, or of the default one; none where there is no such partition or no answer."""
    answer = ask(["sinfo", "--noheader", "--Node", "--Format=Partition:|,CPUs:|,Gres:|,StateLong:|,NodeList:"])
    nodes = []
    for line in answer.text.splitlines():
        fields = line.split("|", 4)
        if len(fields) != 5:
            continue
        name, cores, gres, state, node = fields
        if name.endswith("*") if partition is None else name.rstrip("*") == partition:
            nodes.append(Node(node, int(cores) if cores.isdigit() else 0, _gpus(gres), state))
    return nodes


def _gpus(gres: str) -> int:
    """The number in sinfo's `gpu:a100:4(S:0-1),craynetwork:1`."""
    return sum(int(found[1]) for found in re.finditer(r"\bgpu(?::[^:,(]+)?:(\d+)", gres))


def check_partition(cluster: ClusterConfig, nodes: list[Node]) -> Finding:
    """Whether it is there and has nodes that work."""
    if not nodes:
        names = sorted({line.strip().rstrip("*") for line in ask(["sinfo", "-h", "-o", "%P"]).text.splitlines()})
        if cluster.partition is None:
            return problem("partition", "the site has no default one", f"set partition to one of {', '.join(names)}")
        close = difflib.get_close_matches(cluster.partition, names, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        return problem("partition", f"there is none called {cluster.partition}", f"{hint}There are {', '.join(names)}")
    usable = sum(node.usable for node in nodes)
    found = f"{cluster.partition or '(the default one)'}: {len(nodes)} nodes, {usable} of them in working order"
    if usable == 0:
        return problem("partition", found, "wait, or take another partition")
    return ok("partition", found)


def check_nodes(cluster: ClusterConfig, nodes: list[Node]) -> Iterator[Finding]:
    """GPUs and cores of its nodes."""
    if not nodes:
        return
    (gpus, cores), _ = Counter((node.gpus, node.cores) for node in nodes).most_common(1)[0]
    found = f"{gpus} GPUs and {cores} CPUs a node; gpus_per_node {cluster.gpus_per_node}"
    needed = ranks_per_node(cluster) * cluster.cpus_per_task
    if cluster.gpus_per_node > gpus and cluster.gpu_request != "none":
        yield problem("nodes", found, f"set gpus_per_node: {gpus}, or take another partition")
    elif cluster.gpus_per_node < gpus and cluster.whole_nodes:
        yield warning("nodes", found, f"set gpus_per_node: {gpus}; the others would be paid for and idle")
    elif needed > cores:
        each = max(1, cores // ranks_per_node(cluster))
        yield problem("nodes", f"{found}; {needed} CPUs are asked for", f"set cpus_per_task: {each}")
    else:
        yield ok("nodes", f"{found}, {needed} CPUs for {ranks_per_node(cluster)} ranks")


def check_acceptance(cluster: ClusterConfig, runs: Path, nodes: int) -> Finding:
    """Whether sbatch would take a job as the cluster's file describes it, at its full time limit."""
    shape = room(cluster, nodes * ranks_per_node(cluster))
    try:
        refused = refusal(cluster, shape, sweep_dir=runs / "slurm-doctor")
    except SlurmAwayError as error:
        return problem("sbatch", str(error), "wait, or ask the site")
    except InputError as error:
        refused = str(error)
    asked = f"{nodes} nodes for {cluster.time_limit_minutes} minutes"
    if refused is not None:
        return problem("sbatch", f"{asked}: {refused}", "look at the keys of the cluster's file that it names")
    return ok("sbatch", f"would take {asked}")
