"""One row per model that comes with the program: its size and cost, as `mammut-clip models` prints them."""

from typing import Any

from mammut_clip.config.model import list_model_names, load_model_config
from mammut_clip.cost.flops import gflops_per_sample
from mammut_clip.cost.params import parameters


def describe_models() -> list[dict[str, Any]]:
    """Name, family, parameters in millions and GFLOPs per sample of every model in configs/models/."""
    return [_describe(name) for name in list_model_names()]


def _describe(name: str) -> dict[str, Any]:
    config = load_model_config(name)
    count, gflops = parameters(config), gflops_per_sample(config)
    return {
        "name": name,
        "family": config.family,
        "params_m": round(count.total / 1e6, 4),
        "image_params_m": round(count.image / 1e6, 4),
        "text_params_m": round(count.text / 1e6, 4),
        "gflops_paper": round(gflops.paper, 6),
        "gflops_exact_forward": round(gflops.exact_forward, 6),
        "gflops_exact_step": round(gflops.exact_step, 6),
    }
