"""Every family, sharded in every way that a config can ask for, against one process with the whole batch.

Two real processes on gloo; everything is checked in one spawn.
"""

import gc
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from mammut_clip.config.load import validate
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.data.stream import Batch
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import all_reduce_sum
from mammut_clip.train.inputs import prepare
from mammut_clip.train.parallel import build_parallel, log_scale_of
from mammut_clip.train.step import compute_losses

WORLD = 2
ROWS = 6
CPU = torch.device("cpu")


def mammut_that(**text: Any) -> dict[str, Any]:
    values = load_model_config("mammut_toy-XS").model_dump()
    values["text_cfg"] |= text
    return values


def clip_that_drops_patches() -> dict[str, Any]:
    values = load_model_config("toy-XS").model_dump()
    values["vision_cfg"]["patch_dropout"] = 0.5
    return values


def clip_with_timm(name: str) -> dict[str, Any]:
    """The toy CLIP with another image tower."""
    values = load_model_config("toy-XS").model_dump()
    return values | {"vision_cfg": {"timm_model_name": name, "image_size": 32}}


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "clip fsdp": ("toy-XS", {}),
    "clip patch dropout": (clip_that_drops_patches(), {"recompute": "selective"}),
    "clip compiled": ("toy-XS", {"compile": True}),
    "siglip fsdp": ("toy-XS-SigLIP", {"recompute": "full"}),
    "mammut fsdp": ("mammut_toy-XS", {}),
    "mammut fsdp full": ("mammut_toy-XS", {"recompute": "full"}),
    "mammut ddp": ("mammut_toy-XS", {"mode": "ddp"}),
    "mammut masked": (mammut_that(text_pooling="mean_valid"), {"recompute": "selective"}),
    "coca fsdp": ("coca_toy-XS", {"recompute": "selective"}),
    "coca ddp": ("coca_toy-XS", {"mode": "ddp"}),
    "cap fsdp": ("cap_toy-XS", {}),
    "timm fsdp": (clip_with_timm("convnext_atto"), {}),
}


IN_BF16 = {"ours": "toy-XS", "batch norms": clip_with_timm("test_resnet")}


def config_of(model: Any, parallel: dict[str, Any]) -> RunConfig:
    values = {
        "name": "x",
        "model": model,
        "samples_seen": 60,
        "global_batch_size": ROWS,
        "seed": 4,
        "data": {"train": ["x"]},
        "optimizer": {"lr": 1e-3},
        "parallel": parallel,
    }
    return validate(RunConfig, values, "test")


def batch_of(config: RunConfig, own: slice) -> Batch:
    """Rows of one batch with captions of different lengths."""
    text = config.model.architecture.text_cfg
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (ROWS, 3, 32, 32), generator=generator, dtype=torch.uint8)
    ids = torch.randint(1, 90, (ROWS, text.context_length), generator=generator)
    for row in range(ROWS):
        ids[row, 3 + 2 * row], ids[row, 4 + 2 * row :] = 95, 0
    positions = range(600 + own.start, 600 + own.stop)
    return Batch(images[own], ids[own], positions)


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def measured(config: RunConfig, process: Process) -> dict[str, Tensor]:
    """First weights, loss of the global batch, and its gradients."""
    torch.manual_seed(process.rank)  # weights depend on no global generator
    model = build_parallel(config.model.architecture, config, process)
    results = {_bare(f"weight {name}"): whole(p.detach()).clone() for name, p in model.named_parameters()}
    share = ROWS // process.world_size
    batch = batch_of(config, slice(process.rank * share, (process.rank + 1) * share))
    losses = compute_losses(model, prepare(batch, config, CPU), config, process)
    losses.total.backward()
    results["loss"] = all_reduce_sum(losses.total) / process.world_size
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        results[_bare(f"gradient {name}")] = whole(parameter.grad).clone()
    return results


def _bare(name: str) -> str:
    return name.replace("module.", "").replace("_orig_mod.", "")


def temperature_under_bf16(model_given: Any, process: Process) -> dict[str, Tensor]:
    """The factor on similarities that a bf16 step uses; 14.23 in bf16's 8 bits would be 14.25 or worse."""
    config = config_of(model_given, {"precision": "bf16"})
    model = build_parallel(config.model.architecture, config, process)
    log_scale = log_scale_of(model)
    assert log_scale is not None
    with torch.no_grad():
        log_scale.fill_(2.6553)
    inputs = prepare(batch_of(config, slice(0, 3)), config, CPU)
    output = model(inputs.images, inputs.ids)
    assert output.image_features.dtype == torch.float32
    return {"temperature": output.logit_scale.detach().clone()}


def rank_main(rank: int, port: int, folder: str) -> None:
    """What each process computes; rank 0 writes it down."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    process = Process(rank, WORLD, rank, CPU)
    for name, (model, parallel) in CASES.items():
        results = measured(config_of(model, parallel), process)
        if rank == 0:
            torch.save(results, Path(folder) / f"{name}.pt")
    for name, model in IN_BF16.items():
        bf16 = temperature_under_bf16(model, process)
        if rank == 0:
            torch.save(bf16, Path(folder) / f"bf16 {name}.pt")
    gc.collect()  # FSDP2's state holds the group: it goes first, or its threads end with the process and abort it
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(rank_main, (port, str(folder)), nprocs=WORLD)
    return folder


@pytest.mark.distributed
@pytest.mark.parametrize("case", list(CASES))
def test_two_processes_equal_one_with_the_whole_batch(folder: Path, case: str) -> None:
    found = torch.load(folder / f"{case}.pt", weights_only=True)
    model, parallel = CASES[case]
    plain = {key: value for key, value in parallel.items() if key == "precision"}
    expected = measured(config_of(model, plain), Process(0, 1, 0, CPU))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name.startswith("weight "):
            assert torch.equal(found[name], value), name
        else:
            assert (found[name] - value).norm() <= 1e-5 * value.norm(), name


@pytest.mark.distributed
@pytest.mark.parametrize("name", list(IN_BF16))
def test_bf16_does_not_round_the_temperature(folder: Path, name: str) -> None:
    (value,) = torch.load(folder / f"bf16 {name}.pt", weights_only=True).values()
    torch.testing.assert_close(value, torch.tensor(2.6553).exp(), rtol=1e-6, atol=0)


def test_a_module_that_is_in_no_block_and_no_part_stays_small() -> None:
    """What is gathered in float32 under bf16 is little beside the rest."""
    from mammut_clip.models.build import build_empty

    for name in ("ViT-B-32", "mammut_ViT-B-32", "coca_ViT-B-32", "ViT-B-32-SigLIP"):
        model = build_empty(load_model_config(name))
        groups: list[nn.Module] = [*model.blocks(), *(module for part in model.parts() for module in part)]  # type: ignore[operator]
        inside = {id(p) for module in groups for p in module.parameters()}
        outside = sum(p.numel() for p in model.parameters() if id(p) not in inside)
        assert outside < 0.01 * sum(p.numel() for p in model.parameters()), name
