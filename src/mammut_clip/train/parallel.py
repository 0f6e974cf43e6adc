"""Parallelism, applied to a plain model from outside: FSDP2 shards its blocks, DDP copies it whole.

In this order: recomputation, compilation, sharding, weights. A sharded model has no weights until it is sharded, so
that no process ever holds more than one whole parameter.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from mammut_clip.config.model import ModelConfig
from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.models.blocks import Block
from mammut_clip.models.build import build_empty, give_weights
from mammut_clip.models.outside import float32_layers


def build_parallel(architecture: ModelConfig, config: RunConfig, process: Process) -> nn.Module:
    """A model on its device with its first weights, ready to train under config.parallel.

    FSDP2 works in place and changes the parameters into sharded ones; DDP returns a wrapper.
    """
    model = build_empty(architecture)
    for block in model.blocks():  # type: ignore[operator]
        if isinstance(block, Block):
            block.recompute = config.parallel.recompute
        if config.parallel.compile:
            block.compile()
    if config.parallel.compile:
        torch._dynamo.config.recompile_limit = 64  # one per kind of block, length and precision that occurs
    sharded = process.world_size > 1 and config.parallel.mode != "ddp"
    if sharded:
        _shard(model, config, process)
    give_weights(model, config.seed, process.device)
    if process.world_size == 1 or sharded:
        return model
    return DistributedDataParallel(model, find_unused_parameters=_some_unused(config))


def _some_unused(config: RunConfig) -> bool:
    """Whether a loss term of weight 0 leaves its parameters without gradients."""
    model, weights = config.model.architecture, config.loss
    both = model.has_features and model.writes_captions
    return both and (weights.contrastive == 0 or weights.caption == 0)


def _shard(model: nn.Module, config: RunConfig, process: Process) -> None:
    mesh = init_device_mesh(process.device.type, (process.world_size,))
    policy = MixedPrecisionPolicy()
    if config.parallel.precision == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for layer in float32_layers(model):
        fully_shard(layer, mesh=mesh)
    for block in model.blocks():  # type: ignore[operator]
        fully_shard(block, mesh=mesh, mp_policy=policy)
    for part in model.parts():  # type: ignore[operator]
        fully_shard(part if len(part) > 1 else part[0], mesh=mesh, mp_policy=policy)
    # what is left is small and stays in float32: bf16 would round the temperature by up to 2%
    fully_shard(model, mesh=mesh)
    # Evaluation calls these directly; without the hooks they would meet sharded parameters.
    for method in ("encode_image", "encode_text"):
        if hasattr(model, method):
            register_fsdp_forward_method(model, method)


def bare(model: nn.Module) -> nn.Module:
    """The model without DDP's wrapper."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def log_scale_of(model: nn.Module) -> nn.Parameter | None:
    """The learned logarithm of the inverse temperature, shape [1], sharded under FSDP2; None for a pure captioner."""
    return getattr(bare(model), "logit_scale", None)


@contextmanager
def compute_precision(config: RunConfig, process: Process) -> Iterator[None]:
    """Autocast for bf16 where parameters are whole; under FSDP2 its own policy casts them."""
    sharded = process.world_size > 1 and config.parallel.mode != "ddp"
    use = config.parallel.precision == "bf16" and not sharded
    with torch.autocast(process.device.type, dtype=torch.bfloat16, enabled=use):
        yield
