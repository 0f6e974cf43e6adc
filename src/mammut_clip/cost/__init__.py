"""What a model costs, from its architecture values alone: parameters, FLOPs, memory. No torch needed.

parameters(config).total                     parameters(config).image
gflops_per_sample(config).paper              gflops_per_sample(config).exact_step
"""

from mammut_clip.cost.flops import Gflops, gflops_per_sample
from mammut_clip.cost.memory import MemoryEstimate, training_memory_gb
from mammut_clip.cost.params import ParameterCount, parameters
from mammut_clip.cost.table import describe_models

__all__ = [
    "Gflops",
    "MemoryEstimate",
    "ParameterCount",
    "describe_models",
    "gflops_per_sample",
    "parameters",
    "training_memory_gb",
]
