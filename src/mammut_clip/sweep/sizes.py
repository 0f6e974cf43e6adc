"""What models and steps of a plan need, each worked out once: thousands of runs have few distinct shapes."""

from dataclasses import dataclass
from typing import Any

from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.run import RunConfig
from mammut_clip.cost import Gflops, gflops_per_sample, parameters
from mammut_clip.cost.layouts import MARGIN, Spread, spreads_of


@dataclass(frozen=True)
class ModelSize:
    """A model's parameters, and GFLOPs per sample."""

    params: int
    gflops: Gflops


class Sizes:
    """The sizes of a plan's runs on one cluster."""

    def __init__(self, cluster: ClusterConfig) -> None:
        self.cluster = cluster
        self._models: dict[ModelConfig, ModelSize] = {}
        self._spreads: dict[Any, tuple[Spread, ...]] = {}

    def model(self, architecture: ModelConfig) -> ModelSize:
        """Raises UnmeasuredTowerError for a tower of another package whose cost the config does not give."""
        if architecture not in self._models:
            self._models[architecture] = ModelSize(parameters(architecture).total, gflops_per_sample(architecture))
        return self._models[architecture]

    def spreads(self, config: RunConfig, gpus: int) -> tuple[Spread, ...]:
        """As `spreads_of`, on so many of the cluster's GPUs."""
        key = (config.model.architecture, config.parallel, config.global_batch_size, gpus)
        if key not in self._spreads:
            memory = self.cluster.gpu_memory_gb if gpus else None
            self._spreads[key] = spreads_of(config, gpus, self.cluster.gpus_per_node, memory)
        return self._spreads[key]

    def needed_gb(self, config: RunConfig, gpus: int) -> float | None:
        """The least memory of a step in one process, whichever way the parameters are spread; None for unknown."""
        needs = [spread.memory.total for spread in self.spreads(config, gpus) if spread.memory is not None]
        return min(needs, default=None)

    def micro_batch_that_fits(self, config: RunConfig, gpus: int) -> int | None:
        """The largest share of a half, a quarter, ... of a process's pairs that leaves room in memory, if any does."""
        at_a_time, room = config.global_batch_size // max(1, gpus), MARGIN * (self.cluster.gpu_memory_gb or 0)
        while at_a_time > 1:
            at_a_time //= 2
            parallel = config.parallel.model_copy(update={"micro_batch_size": at_a_time})
            needed = self.needed_gb(config.model_copy(update={"parallel": parallel}), gpus)
            if needed is not None and needed <= room:
                return at_a_time
        return None
