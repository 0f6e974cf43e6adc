"""Optimizers on FSDP2's sharded parameters: they step as on whole ones, or are refused on every rank."""

import gc
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from gloo_processes import Results, run_processes
from mammut_clip.config.errors import ConfigError
from mammut_clip.config.run import OptimizerConfig
from mammut_clip.train.optimizer import make_optimizer

WORLD = 2
STEPPED: dict[str, dict[str, Any]] = {
    "adamw": {},
    "lion": {},
    "lamb": {},
    "lars": {},
    "adafactorbv": {},
    "adopt": {},
    "adan": {},
    "sgd": {"momentum": 0.8},
    "nadamw": {},
}
PERHAPS_NOT = ("adafactor", "cadopt", "clion", "adamp", "mars", "novograd")
"""PyTorch's DTensor lacks what they do; a newer one may have it."""


def config_of(name: str) -> OptimizerConfig:
    return OptimizerConfig(name=name, lr=1e-2, weight_decay=0.1, options=STEPPED.get(name, {}))


def stepped(name: str, *, sharded: bool) -> Tensor:
    """Parameters after three steps, whole; some have fewer rows than there are ranks."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 2), nn.Linear(6, 1), nn.LayerNorm(7), nn.Embedding(40, 128))
    if sharded:
        fully_shard(model, mesh=init_device_mesh("cpu", (WORLD,)))
    optimizer = make_optimizer(model, config_of(name))
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            gradient = 1e-2 * torch.randn(parameter.shape, generator=generator)
            if isinstance(parameter, DTensor):
                gradient = distribute_tensor(gradient, parameter.device_mesh, parameter.placements)
            parameter.grad = gradient
        optimizer.step()
    parts = [p.full_tensor() if isinstance(p, DTensor) else p for p in model.parameters()]
    return torch.cat([part.detach().flatten() for part in parts])


def rank_main(rank: int) -> Results:
    results = {name: stepped(name, sharded=True) for name in STEPPED}
    for name in PERHAPS_NOT:
        try:
            results[name] = stepped(name, sharded=True)
        except ConfigError as error:
            assert f"optimizer.name = '{name}': cannot step sharded parameters" in str(error)
            assert "parallel.mode = ddp" in str(error)
    gc.collect()  # FSDP2's state holds the group
    return results


@pytest.mark.distributed
def test_sharded_parameters_are_stepped_as_whole_ones(tmp_path_factory: pytest.TempPathFactory) -> None:
    ranks = run_processes(rank_main, WORLD, tmp_path_factory.mktemp("ranks"))
    assert ranks[0].keys() == ranks[1].keys() >= STEPPED.keys()
    for name, found in ranks[0].items():
        expected = stepped(name, sharded=False)
        assert (found - expected).norm() <= 1e-6 * expected.norm(), name
