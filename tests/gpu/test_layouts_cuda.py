"""Layouts and micro-batches on a CUDA device: one process with a group of its own, where everything but other ranks is
real. (Several ranks: tests/distributed, on gloo.)"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from mammut_clip.config.load import validate
from mammut_clip.config.run import RunConfig
from mammut_clip.data.stream import Batch
from mammut_clip.distributed import Process
from mammut_clip.train.inputs import StepInputs, prepare
from mammut_clip.train.mesh import layout_of, process_memory
from mammut_clip.train.optimizer import make_optimizer
from mammut_clip.train.parallel import build_parallel
from mammut_clip.train.step import compute_gradients
from mammut_clip.train.update import Update

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

ROWS = 32
LAYOUTS: dict[str, dict[str, Any]] = {
    "micro-batches": {"micro_batch_size": 12},
    "fsdp": {"mode": "fsdp"},
    "fsdp in micro-batches": {"mode": "fsdp", "micro_batch_size": 12},
    "offloaded": {"mode": "fsdp", "cpu_offload": True},
    "offloaded in micro-batches": {"mode": "fsdp", "cpu_offload": True, "micro_batch_size": 12},
}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The only rank of a job; CPU tensors go over gloo, as in the trainer."""
    device = torch.device("cuda", torch.cuda.current_device())
    meeting = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("cpu:gloo,cuda:nccl", init_method=f"file://{meeting}", rank=0, world_size=1)
    yield Process(0, 1, 0, device)
    dist.destroy_process_group()


def config_of(**parallel: Any) -> RunConfig:
    values = {
        "name": "x",
        "model": "mammut_toy-S",
        "samples_seen": 1024,
        "global_batch_size": ROWS,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3, "eps": 1e-3},
        "parallel": parallel,
    }
    return validate(RunConfig, values, "test")


def inputs_of(config: RunConfig, device: torch.device) -> StepInputs:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (ROWS, 32, 32, 3), dtype=torch.uint8, generator=generator)
    ids = torch.randint(2, 90, (ROWS, 20), generator=generator)
    return prepare(Batch(pixels.permute(0, 3, 1, 2), ids, range(ROWS)), config, device)


def whole(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().cpu().float()


def stepped(config: RunConfig, process: Process) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """The model after a step; loss, gradient and parameters in one piece each."""
    model = build_parallel(config.model.architecture, config, process)
    update = Update(model, make_optimizer(model, config.optimizer), config, process)
    losses = compute_gradients(model, inputs_of(config, process.device), config, process)
    gradients = [whole(p.grad).flatten() for p in model.parameters() if p.grad is not None]
    update.apply(1e-3)
    return (
        model,
        losses.total.cpu(),
        torch.cat(gradients),
        torch.cat([whole(p).flatten() for p in model.parameters()]),
    )


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 0.1)])
def test_a_step_is_the_same_in_every_layout(process: Process, name: str, precision: str, tolerance: float) -> None:
    _, loss, gradient, parameters = stepped(config_of(), process)
    model, found_loss, found_gradient, found_parameters = stepped(
        config_of(precision=precision, **LAYOUTS[name]), process
    )
    torch.testing.assert_close(found_loss, loss, rtol=tolerance, atol=tolerance)
    assert (found_gradient - gradient).norm() < tolerance * gradient.norm()
    assert (found_parameters - parameters).norm() < tolerance * parameters.norm()
    home = "cpu" if "offloaded" in name else "cuda"
    assert {p.device.type for p in model.parameters()} == {home}


@pytest.mark.parametrize("size", [None, 12])
def test_the_host_does_not_wait_for_the_device(process: Process, size: int | None) -> None:
    """It queues a step, in one piece or several, while the one before is still computed."""
    config = config_of(micro_batch_size=size)
    model = build_parallel(config.model.architecture, config, process)
    inputs = inputs_of(config, process.device)
    compute_gradients(model, inputs, config, process)  # what is allocated once is allocated now
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        compute_gradients(model, inputs, config, process)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_auto_knows_the_memory_of_the_gpu(process: Process) -> None:
    assert process_memory(process) == torch.cuda.get_device_properties(process.device).total_memory
    assert layout_of(config_of(), process, config_of().model.architecture).mode == "single"
