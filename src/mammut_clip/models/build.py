"""Config in, model with random weights out."""

import torch

from mammut_clip.config.model import ModelConfig
from mammut_clip.models.clip import CLIP
from mammut_clip.models.initialize import initialize
from mammut_clip.models.mammut import MaMMUT


def build_model(config: ModelConfig, seed: int = 0) -> CLIP | MaMMUT:
    """A float32 model on the CPU; its random weights depend on the config and the seed alone."""
    with torch.device("meta"):  # so that no layer draws from the global generator on the way
        model = CLIP(config) if config.family == "clip" else MaMMUT(config)
    model.to_empty(device="cpu")
    initialize(model, torch.Generator().manual_seed(seed))
    return model
