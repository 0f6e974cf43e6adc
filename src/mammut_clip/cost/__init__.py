"""What a model costs, from its architecture values alone: parameters, FLOPs, memory. No torch needed.

parameters(config).total                     parameters(config).image
gflops_per_sample(config).paper              gflops_per_sample(config).exact_step
training_memory_gb(config, batch_size_per_gpu=256, gpus=8, precision="bf16").total

docs/cost.md has the conventions, the formulas, and how the estimate compares with what was measured.
"""

from mammut_clip.cost.flops import Gflops, gflops_per_sample
from mammut_clip.cost.memory import MemoryEstimate, training_memory_gb
from mammut_clip.cost.outside import UnmeasuredTowerError, unmeasured
from mammut_clip.cost.params import ParameterCount, parameters
from mammut_clip.cost.table import TrainingSetting, describe_model, describe_models

__all__ = [
    "Gflops",
    "MemoryEstimate",
    "ParameterCount",
    "TrainingSetting",
    "UnmeasuredTowerError",
    "describe_model",
    "describe_models",
    "gflops_per_sample",
    "parameters",
    "training_memory_gb",
    "unmeasured",
]
