"""What a run is predicted to cost on a cluster: devices, wall time, hours.

Where the cluster's file names its GPU (`gpu`) and chips.py knows that name, a step takes what rates.py says. Elsewhere,
on GPUs and on the cores of a single process alike,

    seconds = exact GFLOPs / (devices x peak GFLOP/s x efficiency)

with peak and efficiency of the cluster's file: one number for all models, so small ones, which use less of a device,
cost more than predicted; micro-batches count as a third more. GPU-hours (core-hours) are seconds x devices / 3600.
Checkpoints, evaluation and waiting are not counted.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.run import RunConfig
from mammut_clip.cost.flops import gflops_per_sample
from mammut_clip.cost.points import first_samples
from mammut_clip.cost.rates import AGAIN, is_known, rate_of

Basis = Literal["measured", "formula", "efficiency"]


@dataclass(frozen=True)
class Price:
    """Devices and time of one run."""

    gpus: int
    """GPUs, one process each; 0 trains in one process on the CPU."""
    cores: int
    """Cores of all its processes together."""
    seconds: float
    """Predicted wall time."""
    samples: int
    """Pairs that it consumes itself."""
    basis: Basis
    """measured: rates of this model; formula: that of rates.py; efficiency: the cluster's share of its peak."""

    @property
    def processes(self) -> int:
        """How many processes train it."""
        return max(1, self.gpus)

    @property
    def samples_per_second(self) -> float:
        """Of all processes together."""
        return self.samples / self.seconds

    @property
    def gpu_hours(self) -> float:
        return self.gpus * self.seconds / 3600

    @property
    def core_hours(self) -> float:
        return self.cores * self.seconds / 3600


def price(config: RunConfig, gpus: int, cluster: ClusterConfig, architecture: ModelConfig | None = None) -> Price:
    """The price of a run on so many of a cluster's GPUs; 0 for one process on the CPU.

    `architecture` stands in for the config's where that leaves out what a tower of another package costs. Raises
    UnmeasuredTowerError where nobody says it.
    """
    architecture = config.model.architecture if architecture is None else architecture
    samples, cores = config.total_samples - first_samples(config), max(1, gpus) * cluster.cpus_per_task
    share, micro = config.global_batch_size // max(1, gpus), config.parallel.micro_batch_size
    if gpus and cluster.gpu is not None and is_known(cluster.gpu):
        rate = rate_of(architecture)
        seconds = rate.step_seconds(share, gpus, cluster.gpu, micro) * samples / config.global_batch_size
        return Price(gpus, cores, seconds, samples, "measured" if rate.measured else "formula")
    again = AGAIN if micro is not None and micro < share else 1
    speed = (gpus or cores) * cluster.peak_tflops * 1e3 * cluster.efficiency
    return Price(gpus, cores, _gflops(architecture) * samples * again / speed, samples, "efficiency")


def usual_gpus(cluster: ClusterConfig) -> int:
    """GPUs of a run that asks for no number: a whole node (slurm), one (this machine), or 0 where there are none."""
    return min(1, cluster.gpus_per_node) if cluster.kind == "local" else cluster.gpus_per_node


def check_gpus(gpus: int, cluster: ClusterConfig, source: str) -> None:
    """Raise ConfigError, which names `source`, where a run cannot have so many of the cluster's GPUs."""
    node = cluster.gpus_per_node
    several_nodes = cluster.kind == "slurm" and node > 0
    if gpus > node and not (several_nodes and gpus % node == 0):
        expected = f"at most {node}" + (f", or whole nodes of {node}" if several_nodes else "")
        raise ConfigError(source, [Problem("gpus", f"expected {expected}", gpus)])


@cache
def _gflops(architecture: ModelConfig) -> float:
    return gflops_per_sample(architecture).exact_step
