"""What a run would be and cost, from its config alone: `mammut-clip train CONFIG --dry-run`.

Nothing is written and no data are looked at. Torch is loaded only for a tower of another package whose cost the config
leaves out.
"""

from dataclasses import asdict, dataclass
from typing import Any

from mammut_clip.config.cluster import ClusterConfig, load_cluster
from mammut_clip.config.run import RunConfig
from mammut_clip.cost import Gflops, ParameterCount, gflops_per_sample, parameters
from mammut_clip.cost.layouts import Spread, spreads_of
from mammut_clip.cost.outside import unmeasured
from mammut_clip.cost.points import Checkpoints, checkpoints_of, first_samples, steps_at_multiples
from mammut_clip.cost.price import Price, check_gpus, price, usual_gpus
from mammut_clip.cost.warnings import warnings_of


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
        return None if self.price is None else self.price.samples_per_second

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
            "price_basis": None if self.price is None else self.price.basis,
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
    spreads = spreads_of(config, gpus, node, None if place is None else place.gpu_memory_gb, architecture)
    cost = None if place is None else price(config, gpus, place, architecture)
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
        warnings=warnings_of(config, gpus, place, spreads, checkpoints, cost),
    )


def _spread_row(spread: Spread) -> dict[str, Any]:
    parts = None if spread.memory is None else asdict(spread.memory) | {"total": spread.memory.total}
    return {"mode": spread.mode, "shards": spread.shards, "memory_gb": parts}
