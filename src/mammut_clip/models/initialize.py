"""Random weights from one generator: the same for a given seed on any machine, whatever ran before.

Distributions are the released models'. CLIP's and CoCa's text towers have OpenAI's standard deviations; image towers,
and with them the text tower of MaMMUT and the decoder of CoCa, were left as torch's layers start (open_clip's
VisionTransformer and MultimodalTransformer, LAION's MaMMUT). Every parameter is drawn whole on the CPU, one at a time,
and copied to where it lives: a sharded model gets the numbers of a whole one, and nobody holds more than one whole
parameter. Towers of other packages start as those have it, from a seed of the same generator; every process holds one
whole such tower while it is filled.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from mammut_clip.config.model import SiglipConfig
from mammut_clip.models.blocks import Attention, LayerScale, Mlp, SelfAttentionBlock, Transformer
from mammut_clip.models.cap import Cap
from mammut_clip.models.clip import CLIP, DualEncoder
from mammut_clip.models.coca import CoCa
from mammut_clip.models.coca_vision import CocaVisionTower
from mammut_clip.models.mammut import MaMMUT
from mammut_clip.models.outside import OutsideTower, own_modules
from mammut_clip.models.vision import VisionTower, VisionTrunk

START_TEMPERATURE = 0.07
SIGLIP_START_SCALE = 10.0

Draw = Callable[[Tensor], object]
"""Fills a tensor in place."""


@torch.no_grad()
def initialize(model: nn.Module, generator: torch.Generator) -> None:
    """Fill every parameter of `model` in place, whole or sharded, on whatever device."""
    draws = _Draws(generator)
    for module in own_modules(model):
        _init_layer(module, draws)
    if isinstance(model, DualEncoder):
        _init_clip(model, draws)
    elif isinstance(model, CoCa):
        _init_coca(model, draws)
    else:
        assert isinstance(model, MaMMUT | Cap)
        _init_captioner(model, draws)


class _Draws:
    """Distributions, each filling a parameter from the one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def normal(self, parameter: Tensor, std: float = 1.0) -> None:
        _fill(parameter, partial(nn.init.normal_, std=std, generator=self._generator))

    def uniform(self, parameter: Tensor, bound: float) -> None:
        _fill(parameter, partial(nn.init.uniform_, a=-bound, b=bound, generator=self._generator))

    def xavier_uniform(self, parameter: Tensor) -> None:
        _fill(parameter, partial(nn.init.xavier_uniform_, generator=self._generator))

    def constant(self, parameter: Tensor, value: float) -> None:
        parameter.fill_(value)

    def linear(self, layer: nn.Linear) -> None:
        """torch's own start of a linear layer."""
        bound = 1 / math.sqrt(layer.in_features)
        self.uniform(layer.weight, bound)
        if layer.bias is not None:
            self.uniform(layer.bias, bound)

    def outside(self, tower: OutsideTower) -> None:
        """What another package starts its trunk with, running statistics and other buffers too."""
        seed = torch.randint(2**62, (), generator=self._generator).item()
        values = tower.first_values(int(seed))
        for name, tensor in chain(tower.outside.named_parameters(), tower.outside.named_buffers()):
            _fill(tensor, partial(_copy, values.pop(name)))


def _copy(source: Tensor, target: Tensor) -> None:
    target.copy_(source)


def _fill(parameter: Tensor, draw: Draw) -> None:
    if not isinstance(parameter, DTensor) and parameter.device.type == "cpu":
        draw(parameter)
        return
    whole = torch.empty(parameter.shape, dtype=parameter.dtype)
    draw(whole)
    if isinstance(parameter, DTensor):
        # every rank drew the same numbers and takes its own part of them
        mesh = parameter.device_mesh
        whole = distribute_tensor(whole.to(mesh.device_type), mesh, parameter.placements, src_data_rank=None)
    parameter.copy_(whole)


def _init_layer(module: nn.Module, draws: _Draws) -> None:
    """torch's own starting values of one layer; modules that only hold others are passed over."""
    if isinstance(module, nn.LayerNorm):
        draws.constant(module.weight, 1.0)
        draws.constant(module.bias, 0.0)
    elif isinstance(module, LayerScale):
        draws.constant(module.gamma, module.start)
    elif isinstance(module, Attention):
        for name, parameter in module.named_parameters(recurse=False):
            if name.endswith("weight"):  # packed, or one each for query, key and value
                draws.xavier_uniform(parameter)
        draws.constant(module.in_proj_bias, 0.0)
        draws.linear(module.out_proj)
        draws.constant(module.out_proj.bias, 0.0)
    elif isinstance(module, Mlp):
        draws.linear(module.c_fc)
        draws.linear(module.c_proj)
    elif isinstance(module, OutsideTower):
        draws.outside(module)
        for layer in module.projections():
            draws.linear(layer)
    elif isinstance(module, nn.Conv2d):
        draws.uniform(module.weight, 1 / math.sqrt(module.weight[0].numel()))


def _init_clip(model: DualEncoder, draws: _Draws) -> None:
    if isinstance(model.visual, VisionTower):
        _init_vision(model.visual, draws)
    if isinstance(model, CLIP):
        _init_text_embeddings(model.token_embedding, model.positional_embedding, draws)
        init_openai_text(model.transformer, model.text_projection, draws)
    config = model.config
    if isinstance(config, SiglipConfig):
        assert model.logit_bias is not None
        draws.constant(model.logit_bias, config.init_logit_bias)
        draws.constant(model.logit_scale, math.log(SIGLIP_START_SCALE))
    else:
        draws.constant(model.logit_scale, math.log(1 / START_TEMPERATURE))


def _init_captioner(model: MaMMUT | Cap, draws: _Draws) -> None:
    _init_vision(model.visual, draws)
    _init_text_embeddings(model.text.token_embedding, model.text.positional_embedding, draws)
    draws.constant(model.text.text_projection, 0.0)
    # unit variance, however wide: the LayerNorm of each cross-attention block takes the scale out again
    draws.normal(model.map_viz2txt_kv)
    if isinstance(model, MaMMUT):
        draws.constant(model.logit_scale, math.log(1 / START_TEMPERATURE))


def _init_coca(model: CoCa, draws: _Draws) -> None:
    _init_vision(model.visual, draws)
    draws.normal(model.visual.attn_pool.query)
    text = model.text
    _init_text_embeddings(text.token_embedding, text.positional_embedding, draws)
    draws.normal(text.cls_emb, 0.01)
    init_openai_text(text.transformer, text.text_projection, draws)
    # open_clip leaves the head as fresh memory, which is zero at published sizes; MaMMUT's starts there on purpose
    draws.constant(model.text_decoder.text_projection, 0.0)
    draws.constant(model.logit_scale, math.log(1 / START_TEMPERATURE))


def _init_vision(tower: VisionTrunk, draws: _Draws) -> None:
    std = tower.config.width**-0.5
    draws.normal(tower.class_embedding, std)
    draws.normal(tower.positional_embedding, std)
    if isinstance(tower, VisionTower | CocaVisionTower):
        draws.normal(tower.proj, std)


def _init_text_embeddings(tokens: nn.Embedding, positions: Tensor, draws: _Draws) -> None:
    draws.normal(tokens.weight, 0.02)
    draws.normal(positions, 0.01)


def init_openai_text(transformer: Transformer, projection: Tensor, draws: _Draws) -> None:
    """OpenAI's standard deviations: what adds to the residual starts smaller the deeper the stack."""
    width, layers = projection.shape[0], len(transformer.resblocks)
    residual_std = width**-0.5 * (2 * layers) ** -0.5
    for block in transformer.resblocks:
        assert isinstance(block, SelfAttentionBlock) and block.mlp is not None
        draws.normal(block.attn.in_proj_weight, width**-0.5)
        draws.normal(block.attn.out_proj.weight, residual_std)
        draws.normal(block.mlp.c_fc.weight, (2 * width) ** -0.5)
        draws.normal(block.mlp.c_proj.weight, residual_std)
    draws.normal(projection, width**-0.5)
