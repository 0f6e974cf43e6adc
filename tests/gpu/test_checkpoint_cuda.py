"""On a CUDA device the state is copied in the device's own order, into pinned memory, without waiting for it."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.distributed import Process
from mammut_clip.models import build_model
from mammut_clip.runs.layout import RunDir
from mammut_clip.train.checkpoint import CheckpointWriter, restore
from mammut_clip.train.checkpoint.staging import Staging
from mammut_clip.train.checkpoint.state import state_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

CUDA = Process(0, 1, 0, torch.device("cuda", 0))
LONG = 2_000_000_000
"""Cycles: about a second."""


@pytest.fixture(scope="module")
def group() -> Iterator[None]:
    """The default group, of this process alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    dist.init_process_group("nccl", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("sharded", [False, True])
def test_a_copy_is_in_order_and_waits_for_nothing(group: None, sharded: bool) -> None:
    model = nn.Sequential(nn.Linear(1000, 1000), nn.Linear(1000, 7)).cuda()
    if sharded:
        fully_shard(model, mesh=init_device_mesh("cuda", (1,)))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.randn(3, 1000, device="cuda")).sum().backward()
    optimizer.step()
    staging, state = Staging(CUDA), state_of(model, optimizer)
    staging.copy(state).wait()  # makes the memory
    expected = {name: value.detach().clone() for name, value in state["model"].items()}
    torch.cuda._sleep(LONG)
    staged = staging.copy(state)
    assert not torch.cuda.current_stream().query(), "the device is still busy with what came before"
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    staged.wait()
    for name, value in staged.state["model"].items():
        local, whole = (value.to_local(), expected[name].to_local()) if sharded else (value, expected[name])
        assert local.device.type == "cpu"
        assert local.is_pinned()
        assert torch.equal(local, whole.cpu()), name


def test_a_state_comes_back_to_the_gpu(tmp_path: Path) -> None:
    values = {
        "name": "x",
        "model": "toy-XS",
        "samples_seen": 640,
        "global_batch_size": 64,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3},
    }
    run = RunDir.create(tmp_path, validate(RunConfig, values, "test"))
    states = []
    for seed in (1, 2):
        model = build_model(run.config.model.architecture, seed=seed).cuda()
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        if seed == 1:
            with CheckpointWriter(run, model, optimizer, CUDA) as writer:
                writer.save(64)
                assert writer.numbers()[0] > 0
        else:
            assert restore(run, model, optimizer, CUDA) is not None
        states.append(state_of(model, optimizer))
    for part, tensors in states[0].items():
        for name, value in tensors.items():
            assert states[1][part][name].device == value.device
            assert torch.equal(states[1][part][name], value), name
