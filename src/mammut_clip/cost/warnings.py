"""What somebody should hear about a run before it starts: it can run, but not as one might expect."""

from collections.abc import Iterator, Sequence

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.quantity import format_quantity
from mammut_clip.config.run import RunConfig
from mammut_clip.cost.layouts import MARGIN, Spread
from mammut_clip.cost.points import Checkpoints
from mammut_clip.cost.price import Price

_LONG_GAP = 3600.0
"""Seconds between checkpoints from which on it is worth a warning that a crash loses them."""


def warnings_of(
    config: RunConfig,
    gpus: int,
    cluster: ClusterConfig | None,
    spreads: Sequence[Spread],
    checkpoints: Checkpoints,
    price: Price | None,
) -> tuple[str, ...]:
    """The warnings of a run on so many GPUs of a cluster; None for GPUs of no cluster, which have no price."""
    return (
        *_memory(gpus, cluster, spreads),
        *_parallel(config, gpus, cluster),
        *_gap(config, checkpoints, price),
    )


def _memory(gpus: int, cluster: ClusterConfig | None, spreads: Sequence[Spread]) -> Iterator[str]:
    room = None if cluster is None or not gpus else cluster.gpu_memory_gb
    needs = [spread.memory.total for spread in spreads if spread.memory is not None]
    if needs and room is not None and min(needs) > MARGIN * room:
        yield (
            f"a step needs about {min(needs):.1f} GB, and CUDA and NCCL 1 to 2 GB more: too much for {room:g} GB; try "
            "a smaller parallel.micro_batch_size, parallel.recompute or more GPUs"
        )


def _parallel(config: RunConfig, gpus: int, cluster: ClusterConfig | None) -> Iterator[str]:
    parallel, share = config.parallel, config.global_batch_size // max(1, gpus)
    if parallel.micro_batch_size is not None and parallel.micro_batch_size >= share:
        yield (
            f"parallel.micro_batch_size {parallel.micro_batch_size} does nothing where a process has {share} pairs of "
            "the batch"
        )
    if parallel.precision == "fp32" and gpus and cluster is not None:
        yield "the time is that of bf16; parallel.precision fp32 takes far longer"


def _gap(config: RunConfig, checkpoints: Checkpoints, price: Price | None) -> Iterator[str]:
    if price is None:
        return
    lost = checkpoints.longest_gap / price.samples_per_second
    if lost > _LONG_GAP:
        every = config.checkpoint.every
        yield (
            f"a crash loses up to {lost / 3600:.1f} h: checkpoints are up to "
            f"{format_quantity(checkpoints.longest_gap)} samples apart (checkpoint.every: "
            f"{'null' if every is None else format_quantity(every)})"
        )
