"""Which processes share one copy of the parameters, and how many copies there are.

single   one process with the whole model
ddp      a whole copy in each process
fsdp     one copy, spread over all processes
hsdp     copies that are each spread over some processes, by default those of a node: gathering weights, which happens
         for every block, stays on the node's fast links, and only gradients cross between nodes
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.run import RunConfig
from mammut_clip.cost.memory import MemoryEstimate, training_memory_gb
from mammut_clip.cost.outside import outside_towers
from mammut_clip.cost.params import parameters

Mode = Literal["single", "ddp", "fsdp", "hsdp"]
MARGIN = 0.8
"""Share of a process's memory that an estimate may take; the rest is for fragmentation and the libraries' buffers."""
_BYTES = 16
"""Of each parameter: weight, gradient and two moments in float32."""
_SHARE_OF_STATE = 0.25
"""Share of a process's memory for those where nobody knows what the activations need."""


@dataclass(frozen=True)
class Layout:
    """How the parameters lie on the processes."""

    mode: Mode
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

    Raises ConfigError for a shard_size that does not fit the processes, and for cpu_offload where nothing is sharded;
    UnmeasuredTowerError where auto would have to know the size of a tower of another package that does not say it.
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


@dataclass(frozen=True)
class Spread:
    """One way to spread the parameters, and what it needs."""

    mode: Mode
    shards: int
    """Processes that share one copy of the parameters."""
    memory: MemoryEstimate | None
    """Of one process; None for a model with a tower of another package."""


def spreads_of(
    config: RunConfig, gpus: int, node: int, gpu_memory_gb: float | None, architecture: ModelConfig | None = None
) -> tuple[Spread, ...]:
    """The ways to spread the parameters over so many GPUs (0: one process on the CPU), `node` of them on each node.

    One: as configured, or as the trainer chooses; several where that chooses by memory and `gpu_memory_gb` is not
    known. `architecture` stands in for the config's where that leaves out what a tower of another package costs. Raises
    as `choose_layout`.
    """
    processes, mode = max(1, gpus), config.parallel.mode
    architecture = config.model.architecture if architecture is None else architecture
    if processes > 1 and mode == "auto" and gpu_memory_gb is None:
        layouts = list(_candidates(processes, node))
    else:
        memory = None if gpu_memory_gb is None else int(gpu_memory_gb * 1e9)
        layouts = [choose_layout(architecture, config, processes, min(node, processes) or 1, memory)]
    return tuple(Spread(layout.mode, layout.shard, _memory(architecture, config, layout)) for layout in layouts)


def _memory(architecture: ModelConfig, config: RunConfig, layout: Layout) -> MemoryEstimate | None:
    """None for a model with a tower of another package."""
    if outside_towers(architecture):
        return None
    parallel, processes = config.parallel, layout.shard * layout.replicate
    return training_memory_gb(
        architecture,
        -(-config.global_batch_size // processes),
        processes,
        parallel.precision,
        parallel.recompute,
        shards=layout.shard,
        micro_batch=parallel.micro_batch_size,
        cpu_offload=parallel.cpu_offload,
    )


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
        needed, allowed, what = _demand(architecture, config, layout, memory_bytes)
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
    architecture: ModelConfig, config: RunConfig, layout: Layout, memory_bytes: int
) -> tuple[float, float, str]:
    """(bytes that a process needs, bytes that it may need, of what)."""
    estimate = _memory(architecture, config, layout)
    if estimate is None:
        needed = _BYTES * parameters(architecture).total / layout.shard
        return needed, _SHARE_OF_STATE * memory_bytes, "weights, gradients and moments"
    return estimate.total * 1e9, MARGIN * memory_bytes, "a step"


def _error(key: str, expected: str, value: object) -> ConfigError:
    return ConfigError("the run's config", [Problem(f"parallel.{key}", expected, value)])
