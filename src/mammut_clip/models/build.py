"""Config in, model out: with random weights, or without any until it has been sharded."""

import torch
from torch import nn

from mammut_clip.config.model import CapConfig, ClipConfig, CocaConfig, MammutConfig, ModelConfig
from mammut_clip.config.towers import HfTextConfig
from mammut_clip.models.cap import Cap
from mammut_clip.models.clip import CLIP
from mammut_clip.models.coca import CoCa
from mammut_clip.models.custom_clip import CustomTextCLIP
from mammut_clip.models.initialize import initialize
from mammut_clip.models.mammut import MaMMUT


def build_model(config: ModelConfig, seed: int = 0) -> nn.Module:
    """A float32 model on the CPU; its random weights depend on the config and the seed alone."""
    model = build_empty(config)
    give_weights(model, seed, "cpu")
    return model


def build_empty(config: ModelConfig) -> nn.Module:
    """A model on the meta device, which has shapes and takes no memory; to shard, and then to `give_weights`."""
    with torch.device("meta"):
        if isinstance(config, MammutConfig):
            return MaMMUT(config)
        if isinstance(config, CocaConfig):
            return CoCa(config)
        if isinstance(config, CapConfig):
            return Cap(config)
        assert isinstance(config, ClipConfig)
        return CustomTextCLIP(config) if isinstance(config.text_cfg, HfTextConfig) else CLIP(config)


def build_to_fill(config: ModelConfig) -> nn.Module:
    """A model on the CPU whose every parameter is read next: drawing random ones first would take longer than the
    reading."""
    model = build_empty(config)
    if next(model.buffers(), None) is None:
        return model.to_empty(device="cpu")
    # towers of other packages have buffers that no file holds; these come with first values, but not from a hub
    return build_model(config.without_pretraining())


def give_weights(model: nn.Module, seed: int, device: torch.device | str) -> None:
    """Random weights on `device` for a model of `build_empty`, whole or sharded: the same numbers in both."""
    model.to_empty(device=device)
    initialize(model, torch.Generator().manual_seed(seed))
