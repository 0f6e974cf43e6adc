"""Parallelism, applied to a plain model from outside: FSDP2 shards its blocks, DDP copies it whole.

In this order: recomputation, compilation, sharding, weights. A sharded model has no weights until it is sharded, so
that no process ever holds more than one whole parameter.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import nn
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.nn.parallel import DistributedDataParallel

from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.run import RunConfig
from mammut_clip.cost.layouts import Layout
from mammut_clip.distributed import Process
from mammut_clip.models.blocks import Block
from mammut_clip.models.build import build_empty, give_weights
from mammut_clip.models.outside import float32_layers
from mammut_clip.train.logs import logger
from mammut_clip.train.mesh import layout_of, make_mesh


def build_parallel(
    architecture: ModelConfig, config: RunConfig, process: Process, layout: Layout | None = None
) -> nn.Module:
    """A model on its device with its first weights, ready to train under config.parallel; collective.

    FSDP2 works in place and changes the parameters into sharded ones; DDP returns a wrapper. Without a `layout`, that
    of `layout_of`. Raises ConfigError as that does, and for micro-batches of a model with batch norms.
    """
    if layout is None:
        layout = layout_of(config, process, architecture)
    logger.info("parallel: %s (%s)", layout, layout.reason)
    model = build_empty(architecture)
    _check_micro_batches(model, config, process)
    for block in model.blocks():  # type: ignore[operator]
        if isinstance(block, Block):
            block.recompute = config.parallel.recompute
        if config.parallel.compile:
            block.compile()
    if config.parallel.compile:
        torch._dynamo.config.recompile_limit = 64  # one per kind of block, length and precision that occurs
    if layout.sharded:
        _shard(model, config, layout, process.device)
    _give_weights(model, config, process.device)
    if layout.mode != "ddp":
        return model
    # As views of the buckets that are reduced, gradients take no memory of their own and are not copied. Unless it
    # looks for unused parameters, DDP fills its buckets anew after the first step, in another order: sums over more
    # than two processes then differ in their last bit between a run and the same run started again.
    return DistributedDataParallel(model, find_unused_parameters=True, gradient_as_bucket_view=True)


@cache
def hush_ddp(process: Process) -> None:
    """Have DDP say now, and to nobody, what it says once per process where it found no unused parameters: that not to
    look for them would be faster (see build_parallel). Collective."""
    linear = nn.utils.skip_init(nn.Linear, 1, 1, device=process.device)  # draws no random numbers
    tiny = DistributedDataParallel(linear, find_unused_parameters=True)
    said_to = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nobody:
            os.dup2(nobody.fileno(), 2)
        tiny(torch.zeros(1, 1, device=process.device)).sum().backward()
    finally:
        os.dup2(said_to, 2)
        os.close(said_to)


def _check_micro_batches(model: nn.Module, config: RunConfig, process: Process) -> None:
    """Raise ConfigError where a step in several micro-batches would not be the step of the whole batch."""
    size = config.parallel.micro_batch_size
    if size is not None and size < config.global_batch_size // process.world_size and float32_layers(model):
        expected = (
            f"{config.model.name} has batch norms, whose means would be those of micro-batches, so that the step would "
            "not be the same; use null, more processes or a smaller global_batch_size"
        )
        raise ConfigError("the run's config", [Problem("parallel.micro_batch_size", expected, size)])


def _shard(model: nn.Module, config: RunConfig, layout: Layout, device: torch.device) -> None:
    mesh, policy = make_mesh(layout, device), MixedPrecisionPolicy()
    if config.parallel.precision == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    offload = CPUOffloadPolicy() if config.parallel.cpu_offload else OffloadPolicy()
    for layer in float32_layers(model):
        fully_shard(layer, mesh=mesh, offload_policy=offload)
    for block in model.blocks():  # type: ignore[operator]
        fully_shard(block, mesh=mesh, mp_policy=policy, offload_policy=offload)
    for part in model.parts():  # type: ignore[operator]
        fully_shard(part if len(part) > 1 else part[0], mesh=mesh, mp_policy=policy, offload_policy=offload)
    # what is left is small and stays in float32: bf16 would round the temperature by up to 2%
    fully_shard(model, mesh=mesh, offload_policy=offload)


def _give_weights(model: nn.Module, config: RunConfig, device: torch.device) -> None:
    """Weights on the device; offloaded ones on the CPU, from where FSDP2 fetches them, but not buffers."""
    give_weights(model, config.seed, "cpu" if config.parallel.cpu_offload else device)
    if config.parallel.cpu_offload:
        for module in model.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                setattr(module, name, buffer.to(device))


def bare(model: nn.Module) -> nn.Module:
    """The model without DDP's wrapper."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def log_scale_of(model: nn.Module) -> nn.Parameter | None:
    """The learned logarithm of the inverse temperature, shape [1], sharded under FSDP2; None for a pure captioner."""
    return getattr(bare(model), "logit_scale", None)


@contextmanager
def compute_precision(model: nn.Module, config: RunConfig, device: torch.device) -> Iterator[None]:
    """Autocast for bf16 where parameters are whole; under FSDP2 its own policy casts them."""
    use = config.parallel.precision == "bf16" and not isinstance(model, FSDPModule)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=use):
        yield


@contextmanager
def one_of_several(model: nn.Module, *, last: bool) -> Iterator[None]:
    """The forward and backward pass of one micro-batch of a step; their gradients add up, and are means over all ranks
    after the last.

    DDP reduces whole gradients, once. FSDP2 spreads those of every micro-batch over the processes that share a copy:
    to wait for the last would keep whole gradients, 4 bytes a parameter on each process, and who takes micro-batches is
    short of memory. The copies of HSDP meet once: until then each process adds up its own part.
    """
    if isinstance(model, DistributedDataParallel) and not last:
        with model.no_sync():
            yield
        return
    if isinstance(model, FSDPModule):
        model.set_requires_all_reduce(last)
    yield
