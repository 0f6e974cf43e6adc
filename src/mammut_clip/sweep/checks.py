"""What keeps runs from running on a cluster, found before anything starts: GPUs that cannot be had, steps that do not
fit into memory, time limits in which no checkpoint falls.
"""

from collections.abc import Iterator

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.quantity import format_quantity
from mammut_clip.config.run import RunConfig
from mammut_clip.cost.points import Checkpoints
from mammut_clip.cost.price import Price, check_gpus, usual_gpus
from mammut_clip.sweep.grid import Cell
from mammut_clip.sweep.sizes import Sizes


def gpus_of(cell: Cell, cluster: ClusterConfig, source: str) -> int:
    """GPUs of a run on a cluster; 0 where the cluster has none, whatever the sweep asks for.

    Raises ConfigError where the cluster cannot give what the sweep asks for.
    """
    if cluster.gpus_per_node == 0:
        return 0
    if cell.nodes is not None:
        if cluster.kind == "local" and cell.nodes > 1:
            raise ConfigError(source, [Problem("nodes", "expected 1: the cluster is this machine", cell.nodes)])
        return cell.nodes * cluster.gpus_per_node
    wanted = cell.gpus or usual_gpus(cluster)
    check_gpus(wanted, cluster, source)
    return wanted


def problems_of(config: RunConfig, price: Price, checkpoints: Checkpoints, sizes: Sizes) -> Iterator[Problem]:
    """What keeps a run, priced on the cluster of `sizes`, from running there."""
    yield from _memory(config, price.gpus, sizes)
    yield from _time_limit(config, price, checkpoints, sizes.cluster)


def _memory(config: RunConfig, gpus: int, sizes: Sizes) -> Iterator[Problem]:
    room = sizes.cluster.gpu_memory_gb
    if not gpus or room is None:
        return
    needed = sizes.needed_gb(config, gpus)
    if needed is None or needed <= room:
        return
    fits = sizes.micro_batch_that_fits(config, gpus)
    ways = ["parallel.recompute: full"] if config.parallel.recompute != "full" else []
    ways += ["more GPUs"]
    smaller = f"expected {fits} or less" if fits is not None else "no number of pairs is small enough"
    yield Problem(
        "parallel.micro_batch_size",
        f"a step of {config.model.name} with {config.global_batch_size // gpus} pairs on each of {gpus} GPUs needs "
        f"about {needed:.1f} GB, and the cluster's GPUs have {room:g}; {smaller}, or {' or '.join(ways)}",
        config.parallel.micro_batch_size,
    )


def _time_limit(config: RunConfig, price: Price, checkpoints: Checkpoints, cluster: ClusterConfig) -> Iterator[Problem]:
    if cluster.kind != "slurm" or cluster.time_limit_minutes is None:
        return
    usable = 60 * cluster.time_limit_minutes - cluster.signal_seconds
    apart = checkpoints.longest_gap / price.samples_per_second
    if apart > usable:
        every = config.checkpoint.every
        yield Problem(
            "checkpoint.every",
            f"checkpoints are predicted to be {apart / 60:.0f} min apart, and a job has {usable / 60:.0f} min before "
            f"it is told to end; expected {_enough(price.samples_per_second * usable / 2)} or less",
            None if every is None else format_quantity(every),
        )


def _enough(samples: float) -> str:
    """A round number of samples, a little fewer than so many."""
    digits = max(0, len(str(int(samples))) - 2)
    return format_quantity(max(1, int(samples) // 10**digits * 10**digits))
