"""What a run would be and cost, from its config alone: `mammut-clip train CONFIG --dry-run`.

Nothing is written and no data are looked at. Torch is loaded only where the trainer itself has to be asked how it would
spread the parameters, and for a tower of another package whose cost the config leaves out.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from mammut_clip.config.cluster import ClusterConfig, load_cluster
from mammut_clip.config.quantity import format_quantity
from mammut_clip.config.run import RunConfig
from mammut_clip.cost import Gflops, MemoryEstimate, ParameterCount, gflops_per_sample, parameters, training_memory_gb
from mammut_clip.cost.outside import outside_towers, unmeasured
from mammut_clip.cost.points import Checkpoints, checkpoints_of, first_samples, steps_at_multiples
from mammut_clip.cost.price import Price, check_gpus, price, usual_gpus

_ROOM = 0.8
"""Share of a GPU's memory that an estimate may take; the rest is for fragmentation and the libraries' buffers."""
_LONG_GAP = 3600.0
"""Seconds between checkpoints from which on it is worth a warning that a crash loses them."""


@dataclass(frozen=True)
class Spread:
    """One way to spread the parameters, and what it needs."""

    mode: str
    """single, ddp, fsdp or hsdp."""
    shards: int
    """Processes that share one copy of the parameters."""
    memory: MemoryEstimate | None
    """Of one process; None for a model with a tower of another package."""


@dataclass(frozen=True)
class DryRun:
    """A run that has not been started."""

    config: RunConfig
    parameters: ParameterCount
    gflops: Gflops
    """Per sample."""
    gpus: int
    """GPUs, one process each; 0 trains in one process on the CPU."""
    spreads: tuple[Spread, ...]
    """The ways to spread the parameters that come into question; the only one where it is clear."""
    checkpoints: Checkpoints
    evaluations: int
    rows: int
    """Lines of metrics.jsonl."""
    cluster: str | None
    """Name of the cluster that the price is for."""
    place: ClusterConfig | None
    """That cluster."""
    price: Price | None
    """None where no cluster was named."""
    warnings: tuple[str, ...]

    @property
    def processes(self) -> int:
        """How many processes train it."""
        return max(1, self.gpus)

    @property
    def steps(self) -> int:
        """Optimiser steps that it makes itself."""
        return self.samples // self.config.global_batch_size

    @property
    def samples(self) -> int:
        """What it consumes itself: the budget, but for what the run that it was branched off from has seen."""
        return self.config.total_samples - first_samples(self.config)

    @property
    def samples_per_second(self) -> float | None:
        """Of all processes together; None where no cluster was named."""
        return None if self.price is None else self.samples / self.price.seconds

    def to_json_dict(self) -> dict[str, Any]:
        """What `train --dry-run --json` prints; keys as in `sweep plan --json` where they mean the same."""
        config = self.config
        only = self.spreads[0] if len(self.spreads) == 1 else None
        return {
            "name": config.name,
            "model": config.model.name,
            "family": config.model.architecture.family,
            "params": self.parameters.total,
            "image_params": self.parameters.image,
            "text_params": self.parameters.text,
            "gflops_per_sample": asdict(self.gflops),
            "gflops": self.gflops.exact_step * self.samples,
            "gflops_paper": self.gflops.paper * self.samples,
            "gflops_exact": self.gflops.exact_step * self.samples,
            "samples_seen": config.samples_seen,
            "total_samples": config.total_samples,
            "start": first_samples(config),
            "steps": self.steps,
            "global_batch_size": config.global_batch_size,
            "gpus": self.gpus,
            "batch_size_per_process": config.global_batch_size // self.processes,
            "micro_batch_size": config.parallel.micro_batch_size,
            "warmup": config.schedule.warmup,
            "cooldown": config.schedule.cooldown,
            "mode": None if only is None else only.mode,
            "memory_gb": None if only is None or only.memory is None else only.memory.total,
            "memory": [_spread_row(spread) for spread in self.spreads],
            "checkpoints": asdict(self.checkpoints)
            | {
                "permanent": list(self.checkpoints.permanent),
                "every": config.checkpoint.every,
                "keep_last": config.checkpoint.keep_last,
                "bytes_kept": self.checkpoints.bytes_kept,
            },
            "evaluations": self.evaluations,
            "log_rows": self.rows,
            "cluster": self.cluster,
            "samples_per_second": self.samples_per_second,
            "seconds": None if self.price is None else self.price.seconds,
            "gpu_hours": None if self.price is None else self.price.gpu_hours,
            "core_hours": None if self.price is None else self.price.core_hours,
            "warnings": list(self.warnings),
        }


def dry_run(
    config: RunConfig,
    gpus: int | None = None,
    cluster: str | None = None,
    source: str = "the run's config",
) -> DryRun:
    """What `config` would be on so many GPUs of a cluster; `source` names the config in messages.

    Without `gpus`: as many as a sweep would take on that cluster. Without either: one process on this machine, as
    slurm/local.yaml describes it. With `gpus` alone nothing is said about time. Where the cluster's file
    does not have gpu_memory_gb, it is not known what `parallel.mode: auto` would take, nor whether the step fits.

    Raises ConfigError where the processes cannot share the batch, the cluster has no such GPUs, or the parameters
    cannot be spread as configured.
    """
    if cluster is None and gpus is None:
        cluster = "local"
    place = None if cluster is None else load_cluster(cluster, source=source)
    if place is not None:
        gpus = usual_gpus(place) if gpus is None else gpus
        check_gpus(gpus, place, source)
    assert gpus is not None
    config.check_world_size(max(1, gpus), source)
    architecture = config.model.architecture
    if unmeasured(architecture):
        from mammut_clip.models.measure import with_costs  # loads torch

        architecture = with_costs(architecture)
    count, gflops = parameters(architecture), gflops_per_sample(architecture)
    node = place.gpus_per_node if place is not None else gpus
    gpu_memory_gb = None if place is None else place.gpu_memory_gb
    spreads = tuple(_spreads(config, gpus, node, gpu_memory_gb))
    to_see = config.total_samples - first_samples(config)
    cost = None if place is None else price(gflops.exact_step * to_see, gpus, place)
    checkpoints = checkpoints_of(config, count.total)
    return DryRun(
        config=config,
        parameters=count,
        gflops=gflops,
        gpus=gpus,
        spreads=spreads,
        checkpoints=checkpoints,
        evaluations=0 if config.evaluation.suite is None else steps_at_multiples(config, config.evaluation.every),
        rows=steps_at_multiples(config, config.logging.every),
        cluster=cluster,
        place=place,
        price=cost,
        warnings=(
            *_memory_warnings(spreads, gpu_memory_gb),
            *_parallel_warnings(config, gpus, place),
            *_gap_warnings(config, checkpoints, cost),
        ),
    )


def _spreads(config: RunConfig, gpus: int, node: int, gpu_memory_gb: float | None) -> Iterator[Spread]:
    """The ways to spread the parameters: as configured, as the trainer would choose, or those it would choose from."""
    parallel = config.parallel
    if gpus <= 1 and not parallel.cpu_offload:
        yield _spread(config, gpus, "single", 1)
    elif gpus > 1 and parallel.mode in ("ddp", "fsdp"):
        yield _spread(config, gpus, parallel.mode, 1 if parallel.mode == "ddp" else gpus)
    elif parallel.mode == "auto" and gpu_memory_gb is None:
        yield _spread(config, gpus, "ddp", 1)
        if 1 < node < gpus and gpus % node == 0:
            yield _spread(config, gpus, "hsdp", node)
        yield _spread(config, gpus, "fsdp", gpus)
    else:
        from mammut_clip.train.mesh import choose_layout  # loads torch

        memory = None if gpu_memory_gb is None else int(gpu_memory_gb * 1e9)
        chosen = choose_layout(config.model.architecture, config, max(1, gpus), min(node, max(1, gpus)), memory)
        yield _spread(config, gpus, chosen.mode, chosen.shard)


def _spread(config: RunConfig, gpus: int, mode: str, shards: int) -> Spread:
    parallel, processes = config.parallel, max(1, gpus)
    if outside_towers(config.model.architecture):
        return Spread(mode, shards, None)
    memory = training_memory_gb(
        config.model.architecture,
        config.global_batch_size // processes,
        processes,
        parallel.precision,
        parallel.recompute,
        shards=shards,
        micro_batch=parallel.micro_batch_size,
        cpu_offload=parallel.cpu_offload,
    )
    return Spread(mode, shards, memory)


def _spread_row(spread: Spread) -> dict[str, Any]:
    parts = None if spread.memory is None else asdict(spread.memory) | {"total": spread.memory.total}
    return {"mode": spread.mode, "shards": spread.shards, "memory_gb": parts}


def _memory_warnings(spreads: tuple[Spread, ...], gpu_memory_gb: float | None) -> Iterator[str]:
    needs = [spread.memory.total for spread in spreads if spread.memory is not None]
    if needs and gpu_memory_gb is not None and min(needs) > _ROOM * gpu_memory_gb:
        yield (
            f"a step needs about {min(needs):.1f} GB, and CUDA and NCCL 1 to 2 GB more: too much for {gpu_memory_gb:g} "
            "GB; try a smaller parallel.micro_batch_size, parallel.recompute or more GPUs"
        )


def _parallel_warnings(config: RunConfig, gpus: int, place: ClusterConfig | None) -> Iterator[str]:
    parallel, share = config.parallel, config.global_batch_size // max(1, gpus)
    if parallel.micro_batch_size is not None and parallel.micro_batch_size >= share:
        yield (
            f"parallel.micro_batch_size {parallel.micro_batch_size} does nothing where a process has {share} pairs of "
            "the batch"
        )
    if parallel.precision == "fp32" and gpus and place is not None:
        yield "the time is that of bf16, whose peak the cluster's file gives; parallel.precision fp32 takes far longer"


def _gap_warnings(config: RunConfig, checkpoints: Checkpoints, cost: Price | None) -> Iterator[str]:
    if cost is None:
        return
    lost = cost.seconds * checkpoints.longest_gap / (config.total_samples - first_samples(config))
    if lost > _LONG_GAP:
        every = config.checkpoint.every
        yield (
            f"a crash loses up to {lost / 3600:.1f} h: checkpoints are up to "
            f"{format_quantity(checkpoints.longest_gap)} samples apart (checkpoint.every: "
            f"{'null' if every is None else format_quantity(every)})"
        )
