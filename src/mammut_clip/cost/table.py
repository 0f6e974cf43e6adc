"""One row per model: its size and cost, as `mammut-clip models` prints them."""

from dataclasses import asdict, dataclass
from typing import Any

from mammut_clip.config.model import ModelConfig, list_model_names, load_model_config
from mammut_clip.cost.activations import Recompute
from mammut_clip.cost.flops import gflops_per_sample
from mammut_clip.cost.memory import Precision, training_memory_gb
from mammut_clip.cost.outside import outside_towers
from mammut_clip.cost.params import parameters


@dataclass(frozen=True)
class TrainingSetting:
    """What the memory of a training step depends on besides the model."""

    batch_size_per_gpu: int = 256
    gpus: int = 8
    precision: Precision = "bf16"
    recompute: Recompute = "none"

    def __str__(self) -> str:
        where = "one GPU" if self.gpus == 1 else f"each of {self.gpus} GPUs"
        samples = "1 sample" if self.batch_size_per_gpu == 1 else f"{self.batch_size_per_gpu} samples"
        return f"{samples} on {where}, {self.precision}, recompute {self.recompute}"


def describe_models(setting: TrainingSetting | None = None) -> list[dict[str, Any]]:
    """The rows of all models in configs/models/."""
    return [describe_model(name, load_model_config(name), setting) for name in list_model_names()]


def describe_model(name: str, config: ModelConfig, setting: TrainingSetting | None = None) -> dict[str, Any]:
    """Name, family, parameters in millions, GFLOPs per sample and the estimated memory of a training step.

    `memory_gb` is that of one GPU under `setting`, which stands beside it; None for a model with a tower of another
    package. Raises UnmeasuredTowerError where such a tower's cost is not in the config.
    """
    setting = setting or TrainingSetting()
    count, gflops = parameters(config), gflops_per_sample(config)
    memory = None if outside_towers(config) else training_memory_gb(config, **asdict(setting)).total
    return {
        "name": name,
        "family": config.family,
        "params_m": round(count.total / 1e6, 4),
        "image_params_m": round(count.image / 1e6, 4),
        "text_params_m": round(count.text / 1e6, 4),
        "gflops_paper": round(gflops.paper, 6),
        "gflops_exact_forward": round(gflops.exact_forward, 6),
        "gflops_exact_step": round(gflops.exact_step, 6),
        "memory_gb": None if memory is None else round(memory, 4),
        "memory_at": asdict(setting),
    }
