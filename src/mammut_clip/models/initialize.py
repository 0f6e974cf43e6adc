"""Random weights from one generator: the same for a given seed on any machine, whatever ran before.

Distributions are the released models'. CLIP's text tower has OpenAI's standard deviations; image towers, and
MaMMUT's text tower with them, were left as torch's layers start (open_clip's VisionTransformer, LAION's
MaMMUT).
"""

import math

import torch
from torch import nn

from mammut_clip.models.blocks import Attention, LayerScale, Mlp, SelfAttentionBlock
from mammut_clip.models.clip import CLIP
from mammut_clip.models.mammut import MaMMUT
from mammut_clip.models.vision import VisionTower

START_TEMPERATURE = 0.07


@torch.no_grad()
def initialize(model: CLIP | MaMMUT, generator: torch.Generator) -> None:
    """Fill every parameter of `model` in place."""
    for module in model.modules():
        _init_layer(module, generator)
    _init_vision(model.visual, generator)
    text = model.text if isinstance(model, MaMMUT) else model
    nn.init.normal_(text.token_embedding.weight, std=0.02, generator=generator)
    nn.init.normal_(text.positional_embedding, std=0.01, generator=generator)
    if isinstance(model, MaMMUT):
        nn.init.zeros_(model.text.text_projection)
        # unit variance, however wide: the LayerNorm of each cross-attention block takes the scale out again
        nn.init.normal_(model.map_viz2txt_kv, generator=generator)
    else:
        _init_clip_text(model, generator)
    nn.init.constant_(model.logit_scale, math.log(1 / START_TEMPERATURE))


def _init_layer(module: nn.Module, generator: torch.Generator) -> None:
    """torch's own starting values of one layer; modules that only hold others are passed over."""
    if isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, LayerScale):
        nn.init.constant_(module.gamma, module.start)
    elif isinstance(module, Attention):
        nn.init.xavier_uniform_(module.in_proj_weight, generator=generator)
        nn.init.zeros_(module.in_proj_bias)
        _init_linear(module.out_proj, generator)
        nn.init.zeros_(module.out_proj.bias)
    elif isinstance(module, Mlp):
        _init_linear(module.c_fc, generator)
        _init_linear(module.c_proj, generator)
    elif isinstance(module, nn.Conv2d):
        bound = 1 / math.sqrt(module.weight[0].numel())
        nn.init.uniform_(module.weight, -bound, bound, generator=generator)


def _init_linear(layer: nn.Linear, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(layer.in_features)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def _init_vision(tower: VisionTower, generator: torch.Generator) -> None:
    std = tower.config.width**-0.5
    for parameter in (tower.class_embedding, tower.positional_embedding, tower.proj):
        nn.init.normal_(parameter, std=std, generator=generator)


def _init_clip_text(model: CLIP, generator: torch.Generator) -> None:
    """OpenAI's standard deviations: what adds to the residual starts smaller the deeper the stack."""
    width, layers = model.config.text_cfg.width, model.config.text_cfg.layers
    residual_std = width**-0.5 * (2 * layers) ** -0.5
    for block in model.transformer.resblocks:
        assert isinstance(block, SelfAttentionBlock) and block.mlp is not None
        nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5, generator=generator)
        nn.init.normal_(block.attn.out_proj.weight, std=residual_std, generator=generator)
        nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5, generator=generator)
        nn.init.normal_(block.mlp.c_proj.weight, std=residual_std, generator=generator)
    nn.init.normal_(model.text_projection, std=width**-0.5, generator=generator)
