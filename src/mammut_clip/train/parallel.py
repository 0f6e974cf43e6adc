"""Parallelism, applied to a plain model from outside: FSDP2 shards its blocks, DDP copies it whole."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process


def parallelise(model: nn.Module, config: RunConfig, process: Process) -> nn.Module:
    """The model on its device, ready to train under config.parallel.

    FSDP2 works in place and changes the parameters into sharded ones; DDP returns a wrapper.
    """
    model = model.to(process.device)
    if process.world_size == 1:
        return model
    if config.parallel.mode == "ddp":
        # A loss term of weight 0 leaves its parameters without gradients.
        some_unused = config.loss.contrastive == 0 or config.loss.caption == 0
        return DistributedDataParallel(model, find_unused_parameters=some_unused)
    return _shard(model, config, process)


def _shard(model: nn.Module, config: RunConfig, process: Process) -> nn.Module:
    mesh = init_device_mesh(process.device.type, (process.world_size,))
    policy = MixedPrecisionPolicy()
    if config.parallel.precision == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for block in model.blocks():  # type: ignore[operator]
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    # Evaluation calls these directly; without the hooks they would meet sharded parameters.
    for method in ("encode_image", "encode_text"):
        register_fsdp_forward_method(model, method)
    return model


def bare(model: nn.Module) -> nn.Module:
    """The model without DDP's wrapper."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def log_scale_of(model: nn.Module) -> nn.Parameter:
    """The learned logarithm of the inverse temperature, shape [1]; sharded under FSDP2."""
    parameter = bare(model).logit_scale
    assert isinstance(parameter, nn.Parameter)
    return parameter


@contextmanager
def compute_precision(config: RunConfig, process: Process) -> Iterator[None]:
    """Autocast for bf16 where parameters are whole; under FSDP2 its own policy casts them."""
    sharded = process.world_size > 1 and config.parallel.mode != "ddp"
    use = config.parallel.precision == "bf16" and not sharded
    with torch.autocast(process.device.type, dtype=torch.bfloat16, enabled=use):
        yield
