"""A step of a toy run on some processes, to be compared with that of one process on the whole batch."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from gloo_processes import Results
from mammut_clip.config.load import validate
from mammut_clip.config.model import load_model_config
from mammut_clip.config.run import RunConfig
from mammut_clip.data.stream import Batch
from mammut_clip.distributed import Process
from mammut_clip.distributed.collectives import all_reduce_sum
from mammut_clip.train.inputs import prepare
from mammut_clip.train.optimizer import make_optimizer
from mammut_clip.train.parallel import build_parallel
from mammut_clip.train.step import compute_gradients
from mammut_clip.train.update import Update

ROWS = 8
LR = 1e-2
CPU = torch.device("cpu")
ALONE = Process(0, 1, 0, CPU)
FAMILIES = {
    "clip": "toy-XS",
    "siglip": "toy-XS-SigLIP",
    "mammut": "mammut_toy-XS",
    "coca": "coca_toy-XS",
    "cap": "cap_toy-XS",
}


def mammut_that(**text: Any) -> dict[str, Any]:
    """The toy MaMMUT with another text tower."""
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


def config_of(model: Any, parallel: dict[str, Any], **changes: Any) -> RunConfig:
    values = {
        "name": "x",
        "model": model,
        "samples_seen": 10 * ROWS,
        "global_batch_size": ROWS,
        "seed": 4,
        "data": {"train": ["x"]},
        # with a larger eps, digits that gradients lose in another order of sums are not blown up to whole steps
        "optimizer": {"lr": LR, "eps": 1e-3},
        "parallel": parallel,
    }
    return validate(RunConfig, values | changes, "test")


def batch_of(config: RunConfig, process: Process, seed: int = 1) -> Batch:
    """A process's rows of a batch with captions of different lengths, as the stream shares them out."""
    text = config.model.architecture.text_cfg
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (ROWS, 3, 32, 32), generator=generator, dtype=torch.uint8)
    ids = torch.randint(1, 90, (ROWS, text.context_length), generator=generator)
    for row in range(ROWS):
        end = 3 + (2 * row + seed) % 15
        ids[row, end], ids[row, end + 1 :] = 95, 0
    own = slice(process.rank, ROWS, process.world_size)
    return Batch(images[own], ids[own], range(600, 600 + ROWS)[own])


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be sharded, detached and for keeps."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).clone()


def plain_name(name: str) -> str:
    """A parameter's name without what DDP and torch.compile put in."""
    return name.replace("module.", "").replace("_orig_mod.", "")


def measured(config: RunConfig, process: Process, steps: int = 2) -> Results:
    """First weights; loss terms and gradients of the global batch in a first step; weights after some steps."""
    torch.manual_seed(process.rank)  # weights depend on no global generator
    model = build_parallel(config.model.architecture, config, process)
    update = Update(model, make_optimizer(model, config.optimizer), config, process)
    results = {f"weight {plain_name(name)}": whole(parameter) for name, parameter in model.named_parameters()}
    for step in range(steps):
        losses = compute_gradients(
            model, prepare(batch_of(config, process, seed=step), config, process.device), config, process
        )
        for name, term in vars(losses).items():
            if term is not None:
                assert not term.requires_grad
                assert term.dtype == torch.float32
                results[f"{name} {step}"] = all_reduce_sum(term) / process.world_size
        if step == 0:
            for name, parameter in model.named_parameters():
                if parameter.grad is None:
                    assert 0 in (config.loss.contrastive, config.loss.caption), name
                    continue
                assert parameter.grad.dtype == torch.float32, name
                results[f"gradient {plain_name(name)}"] = whole(parameter.grad)
        update.apply(LR)
    return results | {f"end {plain_name(name)}": whole(parameter) for name, parameter in model.named_parameters()}


def assert_same(found: Results, expected: Results) -> None:
    """First weights to the bit, everything else to 1e-5 of its norm; of weights that began with 0 and hardly moved, to
    1e-5 of what a step can move."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name.startswith("weight "):
            assert torch.equal(found[name], value), name
            continue
        difference, size = float((found[name] - value).norm()), float(value.norm())
        if name.startswith("end "):
            size = max(size, LR * value.numel() ** 0.5)
        assert difference <= 1e-5 * size, f"{name}: {difference} of {size}"
