"""Which processes share one copy of the parameters, and how many copies there are.

single   one process with the whole model
ddp      a whole copy in each process
fsdp     one copy, spread over all processes
hsdp     copies that are each spread over some processes, by default those of a node: gathering weights, which happens
         for every block, stays on the node's fast links, and only gradients cross between nodes
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.run import RunConfig
from mammut_clip.cost import parameters
from mammut_clip.cost.memory import training_memory_gb
from mammut_clip.cost.outside import outside_towers
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import all_gather_rows
from mammut_clip.models.measure import with_costs

_MARGIN = 0.8
"""Share of a process's memory that an estimate may take; the rest is for fragmentation and the libraries' buffers."""
_BYTES = 16
"""Of each parameter: weight, gradient and two moments in float32."""
_SHARE_OF_STATE = 0.25
"""Share of a process's memory for those where nobody knows what the activations need."""


@dataclass(frozen=True)
class Layout:
    """How the parameters lie on the processes."""

    mode: Literal["single", "ddp", "fsdp", "hsdp"]
    shard: int = 1
    """Processes that share one copy; each holds an equal part of every parameter."""
    replicate: int = 1
    """Copies."""
    reason: str = field(default="", compare=False)
    """Why it is this one."""

    @property
    def sharded(self) -> bool:
        """Whether FSDP2 holds the parameters, be it in one part."""
        return self.mode in ("fsdp", "hsdp")

    def __str__(self) -> str:
        if self.mode == "single":
            return "one process"
        copies = "1 copy" if self.replicate == 1 else f"{self.replicate} copies"
        return f"{self.mode}, {copies} of the parameters on {self.shard} process(es) each"


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


def choose_layout(
    architecture: ModelConfig,
    config: RunConfig,
    world_size: int,
    local_world_size: int,
    memory_bytes: int | None,
    *,
    has_group: bool | None = None,
) -> Layout:
    """The layout for `world_size` processes, `local_world_size` of them on each node, with so much memory each.

    Under `auto` with several processes, the first of ddp, hsdp (where there are several nodes) and fsdp whose estimated
    memory leaves a fifth of `memory_bytes`; fsdp where that is None, or where none does. With towers of other packages,
    of which nobody knows what they keep, the first whose weights, gradients and moments take a quarter at most.

    `has_group`: whether there is a process group, without which nothing can be sharded; None where there is one if
    there are several processes. One process with a group shards over itself under fsdp and hsdp, without one it does
    not; any shard_size will do then.

    Raises ConfigError for a shard_size that does not fit the processes, and for cpu_offload where nothing is sharded.
    """
    parallel = config.parallel
    if world_size == 1:
        return _of_one(config, has_group=bool(has_group))
    if parallel.mode == "ddp":
        return Layout("ddp", 1, world_size, "as configured")
    if parallel.mode == "fsdp":
        return Layout("fsdp", world_size, 1, "as configured")
    if parallel.mode == "hsdp":
        return _hsdp(parallel.shard_size, world_size, local_world_size)
    return _first_that_fits(architecture, config, world_size, local_world_size, memory_bytes)


def make_mesh(layout: Layout, device: torch.device) -> DeviceMesh:
    """The processes as FSDP2 wants them: in a row, or copies x the parts of each; collective."""
    if layout.replicate == 1:
        return init_device_mesh(device.type, (layout.shard,), mesh_dim_names=("shard",))
    return init_device_mesh(device.type, (layout.replicate, layout.shard), mesh_dim_names=("replicate", "shard"))


def _of_one(config: RunConfig, *, has_group: bool) -> Layout:
    mode = config.parallel.mode
    if has_group and mode in ("fsdp", "hsdp"):
        return Layout("fsdp", 1, 1, f"{mode} as configured, over the only process")
    if config.parallel.cpu_offload:
        raise _error(
            "cpu_offload",
            "needs sharded parameters, which one plain process has not: start it with torchrun --nproc-per-node 1, "
            "or use false",
            True,
        )
    return Layout("single", reason="there is one process")


def _hsdp(shard_size: int | None, world_size: int, local_world_size: int) -> Layout:
    shard = shard_size or local_world_size
    if world_size % shard:
        raise _error("shard_size", f"does not divide the {world_size} processes; {_divisors(world_size)}", shard_size)
    if shard % local_world_size and local_world_size % shard:
        raise _error(
            "shard_size",
            f"cuts through nodes of {local_world_size} processes; expected a divisor or a multiple of that",
            shard_size,
        )
    return Layout("hsdp", shard, world_size // shard, "as configured")


def _divisors(number: int) -> str:
    found = [str(divisor) for divisor in range(2, number + 1) if number % divisor == 0]
    return f"expected one of {', '.join(found)}"


def _first_that_fits(
    architecture: ModelConfig, config: RunConfig, world_size: int, local_world_size: int, memory_bytes: int | None
) -> Layout:
    if memory_bytes is None:
        return Layout("fsdp", world_size, 1, "auto: the memory of the processes is not known")
    tried: list[str] = []
    fits = False
    for layout in _candidates(world_size, local_world_size):
        needed, allowed, what = _demand(architecture, config, layout, world_size, memory_bytes)
        tried.append(f"{layout.mode} {needed / 1e9:.2f} GB")
        fits = needed <= allowed
        if fits:
            break
    verdict = f"{what} may take {allowed / 1e9:.2f} of {memory_bytes / 1e9:.2f} GB in each process"
    failed = "" if fits else "; none of them fits, and training may run out of memory"
    return Layout(layout.mode, layout.shard, layout.replicate, f"auto: {verdict}, needed {', '.join(tried)}{failed}")


def _candidates(world_size: int, local_world_size: int) -> Iterator[Layout]:
    yield Layout("ddp", 1, world_size)
    if 1 < local_world_size < world_size and world_size % local_world_size == 0:
        yield Layout("hsdp", local_world_size, world_size // local_world_size)
    yield Layout("fsdp", world_size, 1)


def _demand(
    architecture: ModelConfig, config: RunConfig, layout: Layout, world_size: int, memory_bytes: int
) -> tuple[float, float, str]:
    """(bytes that a process needs, bytes that it may need, of what)."""
    if outside_towers(architecture):
        count = parameters(with_costs(architecture)).total
        return _BYTES * count / layout.shard, _SHARE_OF_STATE * memory_bytes, "weights, gradients and moments"
    parallel = config.parallel
    estimate = training_memory_gb(
        architecture,
        -(-config.global_batch_size // world_size),
        world_size,
        parallel.precision,
        parallel.recompute,
        shards=layout.shard,
        micro_batch=parallel.micro_batch_size,
    )
    return estimate.total * 1e9, _MARGIN * memory_bytes, "a step"


def _error(key: str, expected: str, value: object) -> ConfigError:
    return ConfigError("the run's config", [Problem(f"parallel.{key}", expected, value)])
