"""What a run is predicted to cost on a cluster: devices, wall time, hours.

    seconds = exact GFLOPs / (devices x peak GFLOP/s x efficiency)

where devices are the run's GPUs, or, on a cluster without GPUs, the cores of its one process; peak and efficiency stand
in the cluster's file. GPU-hours (core-hours) are seconds x devices / 3600. The efficiency is one number for all models,
so small ones, which use less of a GPU, cost more than predicted. Checkpoints, evaluation and waiting are not counted.
"""

from dataclasses import dataclass

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import ConfigError, Problem


@dataclass(frozen=True)
class Price:
    """Devices and time of one run."""

    gpus: int
    """GPUs, one process each; 0 trains in one process on the CPU."""
    cores: int
    """Cores of all its processes together."""
    seconds: float
    """Predicted wall time."""

    @property
    def processes(self) -> int:
        """How many processes train it."""
        return max(1, self.gpus)

    @property
    def gpu_hours(self) -> float:
        return self.gpus * self.seconds / 3600

    @property
    def core_hours(self) -> float:
        return self.cores * self.seconds / 3600


def price(gflops: float, gpus: int, cluster: ClusterConfig) -> Price:
    """The price of so many GFLOPs, as executed, on so many of a cluster's GPUs; 0 for one process on the CPU."""
    cores = max(1, gpus) * cluster.cpus_per_task
    return Price(gpus, cores, gflops / ((gpus or cores) * cluster.peak_tflops * 1e3 * cluster.efficiency))


def usual_gpus(cluster: ClusterConfig) -> int:
    """GPUs of a run that asks for no number: a whole node (slurm), one (this machine), or 0 where there are none."""
    return min(1, cluster.gpus_per_node) if cluster.kind == "local" else cluster.gpus_per_node


def check_gpus(gpus: int, cluster: ClusterConfig, source: str) -> None:
    """Raise ConfigError, which names `source`, where a run cannot have so many of the cluster's GPUs."""
    node = cluster.gpus_per_node
    whole_nodes = cluster.kind == "slurm" and node > 0
    if gpus > node and not (whole_nodes and gpus % node == 0):
        expected = f"at most {node}" + (f", or whole nodes of {node}" if whole_nodes else "")
        raise ConfigError(source, [Problem("gpus", f"expected {expected}", gpus)])
