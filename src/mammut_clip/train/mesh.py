"""The layout of this job (cost/layouts.py), agreed on by its processes, and the mesh that FSDP2 takes."""

import math
import os
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.run import RunConfig
from mammut_clip.cost.layouts import Layout, choose_layout
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import all_gather_rows
from mammut_clip.models.measure import with_costs


def layout_of(config: RunConfig, process: Process, architecture: ModelConfig) -> Layout:
    """The layout of this job, the same on every rank; collective.

    Raises ConfigError as `choose_layout`, where parameters would be offloaded to the CPU from a CPU, and where hsdp
    should take the processes of a node and nodes are not alike.
    """
    parallel = config.parallel
    if parallel.cpu_offload and process.device.type == "cpu":
        raise _error("cpu_offload", "is for runs on GPUs, to spare their memory; on a CPU use false", True)
    memory, node = process_memory(process), process.local_world_size
    if process.world_size > 1:
        facts = [memory, node, process.rank - process.local_rank]
        gathered = all_gather_rows(torch.tensor([facts], device=process.device))
        memories, nodes, firsts = (column.tolist() for column in gathered.T)
        memory, node = min(memories), ranks_within_nodes(nodes, firsts)
        if node < min(nodes) and parallel.mode == "hsdp" and parallel.shard_size is None:
            expected = "expected a number where nodes differ in size, or ranks of a node do not follow one another"
            raise _error("shard_size", expected, None)
    if parallel.mode == "auto" and process.world_size > 1:
        architecture = with_costs(architecture)
    has_group = dist.is_available() and dist.is_initialized()
    return choose_layout(architecture, config, process.world_size, node, memory, has_group=has_group)


def ranks_within_nodes(nodes: Sequence[int], firsts: Sequence[int]) -> int:
    """The largest number n for which ranks 0 to n - 1, n to 2 n - 1 and so on are of one node each.

    For each rank, how many processes its node has, and the rank of the first one, if ranks of a node follow one another
    (as under torchrun; srun may be told to deal them out in turn).
    """
    common = math.gcd(*nodes)
    return 1 if any(first % common for first in firsts) else common


def process_memory(process: Process) -> int:
    """Bytes of the process's GPU; on a CPU its share of the machine's memory."""
    if process.device.type == "cuda":
        return torch.cuda.get_device_properties(process.device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // process.local_world_size


def make_mesh(layout: Layout, device: torch.device) -> DeviceMesh:
    """The processes as FSDP2 wants them: in a row, or copies x the parts of each; collective."""
    if layout.replicate == 1:
        return init_device_mesh(device.type, (layout.shard,), mesh_dim_names=("shard",))
    return init_device_mesh(device.type, (layout.replicate, layout.shard), mesh_dim_names=("replicate", "shard"))


def _error(key: str, expected: str, value: object) -> ConfigError:
    return ConfigError("the run's config", [Problem(f"parallel.{key}", expected, value)])
