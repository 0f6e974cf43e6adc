"""Every family, spread in every way that a config can ask for, against one process with the whole batch.

Real processes on gloo: two for DDP and FSDP, four for HSDP, one for FSDP over itself; everything is checked in one
spawn of each.
"""

import gc
from itertools import product
from typing import Any

import pytest
import torch
from parallel_cases import (
    ALONE,
    CPU,
    FAMILIES,
    assert_same,
    batch_of,
    clip_that_drops_patches,
    clip_with_timm,
    config_of,
    mammut_that,
    measured,
)
from torch import Tensor, nn

from gloo_processes import Results, run_processes
from mammut_clip.config.model import load_model_config
from mammut_clip.distributed import Process
from mammut_clip.train.inputs import prepare
from mammut_clip.train.parallel import build_parallel, log_scale_of
from mammut_clip.train.step import compute_gradients

Case = tuple[Any, dict[str, Any]]

OF_TWO: dict[str, Case] = {
    f"{family} {mode}": (FAMILIES[family], {"mode": mode}) for family, mode in product(FAMILIES, ("ddp", "fsdp"))
} | {
    "clip auto": ("toy-XS", {}),
    "clip hsdp of nodes with one process": ("toy-XS", {"mode": "hsdp"}),
    "clip patch dropout": (clip_that_drops_patches(), {"mode": "fsdp", "recompute": "selective"}),
    "clip compiled": ("toy-XS", {"mode": "fsdp", "compile": True}),
    "mammut full": ("mammut_toy-XS", {"mode": "fsdp", "recompute": "full"}),
    "mammut masked": (mammut_that(text_pooling="mean_valid"), {"mode": "fsdp", "recompute": "selective"}),
    "timm fsdp": (clip_with_timm("convnext_atto"), {"mode": "fsdp"}),
}
OF_FOUR: dict[str, Case] = {
    f"{family} hsdp in micro-batches": (FAMILIES[family], {"mode": "hsdp", "micro_batch_size": 1})
    for family in FAMILIES
} | {
    "siglip hsdp": ("toy-XS-SigLIP", {"mode": "hsdp", "shard_size": 2}),
    "mammut hsdp full": ("mammut_toy-XS", {"mode": "hsdp", "recompute": "full"}),
    "clip hsdp of one copy": ("toy-XS", {"mode": "hsdp", "shard_size": 4}),
}
OF_ONE: dict[str, Case] = {
    "mammut fsdp alone": ("mammut_toy-XS", {"mode": "fsdp"}),
    "clip hsdp alone": ("toy-XS", {"mode": "hsdp", "micro_batch_size": 3}),
}
BY_WORLD = {1: OF_ONE, 2: OF_TWO, 4: OF_FOUR}
ALL = {name: case for cases in BY_WORLD.values() for name, case in cases.items()}

IN_BF16 = {
    "fsdp": ("toy-XS", {"mode": "fsdp"}),
    "fsdp in micro-batches": ("toy-XS", {"mode": "fsdp", "micro_batch_size": 2}),
    "fsdp batch norms": (clip_with_timm("test_resnet"), {"mode": "fsdp"}),
    "ddp": ("toy-XS", {"mode": "ddp"}),
    "ddp in micro-batches": ("toy-XS", {"mode": "ddp", "micro_batch_size": 2}),
}


def in_bf16(case: Case, process: Process) -> Results:
    """What a bf16 step uses as factor on similarities (14.23 in bf16's 8 bits would be 14.25 or worse), its loss, and
    its gradient in one piece."""
    model_given, parallel = case
    config = config_of(model_given, parallel | {"precision": "bf16"})
    model = build_parallel(config.model.architecture, config, process)
    log_scale = log_scale_of(model)
    assert log_scale is not None
    with torch.no_grad():
        log_scale.fill_(2.6553)
    inputs = prepare(batch_of(config, process), config, CPU)
    first = inputs.micro_batches[0]
    output = model(first.normalized_images(), first.ids)
    assert output.image_features.dtype == output.text_features.dtype == torch.float32
    found = measured(config, process, steps=1)  # checks that loss and gradients are float32
    return {"temperature": output.logit_scale.detach().clone(), "loss": found["total 0"], "gradient": in_one(found)}


def gradients_again(process: Process) -> Results:
    """Under DDP, the gradients of one batch in the first step of a process's life and in the third."""
    config = config_of("mammut_toy-XS", {"mode": "ddp"})
    model = build_parallel(config.model.architecture, config, process)
    results: Results = {}
    for step in range(3):
        model.zero_grad()
        compute_gradients(model, prepare(batch_of(config, process), config, CPU), config, process)
        grads = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
        results[f"ddp step {step}"] = torch.cat(grads).clone()
    return results


def in_one(found: Results) -> Tensor:
    """All gradients."""
    return torch.cat([found[name].flatten() for name in sorted(found) if name.startswith("gradient ")])


class RankMain:
    """What rank 0 of so many processes on two nodes has at the end of each case."""

    def __init__(self, world: int) -> None:
        self.world = world

    def __call__(self, rank: int) -> Results:
        node = max(1, self.world // 2)
        process = Process(rank, self.world, rank % node, CPU, node)
        results: Results = {}
        for name, (model, parallel) in BY_WORLD[self.world].items():
            found = measured(config_of(model, parallel), process)
            results |= {f"{name}: {key}": value for key, value in found.items() if rank == 0}
        if self.world == 2:
            for name, case in IN_BF16.items():
                results |= {f"bf16 {name}: {key}": value for key, value in in_bf16(case, process).items()}
        if self.world == 4:
            results |= gradients_again(process)
        gc.collect()  # FSDP2's state holds the group: it goes first, or its threads end with the process and abort it
        return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    found: Results = {}
    for world in BY_WORLD:
        found |= run_processes(RankMain(world), world, tmp_path_factory.mktemp(f"ranks{world}"))[0]
    return found


def of(results: Results, case: str) -> Results:
    return {name.removeprefix(f"{case}: "): value for name, value in results.items() if name.startswith(f"{case}: ")}


@pytest.fixture(scope="module")
def references() -> dict[str, Results]:
    """By model, what one process with the whole batch has."""
    return {}


@pytest.mark.distributed
@pytest.mark.parametrize("case", ALL)
def test_processes_together_equal_one_with_the_whole_batch(
    results: Results, references: dict[str, Results], case: str
) -> None:
    model = ALL[case][0]
    if str(model) not in references:
        references[str(model)] = measured(config_of(model, {}), ALONE)
    assert_same(of(results, case), references[str(model)])


@pytest.mark.distributed
def test_ddp_adds_up_in_one_order_from_the_first_step_on(results: Results) -> None:
    """Otherwise a run that is started again does not end with the same bits; with two processes nothing would show."""
    assert torch.equal(results["ddp step 2"], results["ddp step 0"])
    assert results["ddp step 0"].norm() > 0


@pytest.mark.distributed
@pytest.mark.parametrize("name", IN_BF16)
def test_bf16_keeps_features_temperature_and_loss_in_float32(results: Results, name: str) -> None:
    found = of(results, f"bf16 {name}")
    torch.testing.assert_close(found["temperature"], torch.tensor(2.6553).exp(), rtol=1e-6, atol=0)


@pytest.mark.distributed
def test_bf16_is_near_float32_however_it_is_spread(results: Results) -> None:
    exact = measured(config_of("toy-XS", {}), ALONE, steps=1)
    gradient = in_one(exact)
    for name, (model, _) in IN_BF16.items():
        if model == "toy-XS":
            found = of(results, f"bf16 {name}")
            assert abs(found["loss"] - exact["total 0"]) < 0.02, name
            assert (found["gradient"] - gradient).norm() < 0.1 * gradient.norm(), name


def test_a_module_that_is_in_no_block_and_no_part_stays_small() -> None:
    """What is gathered in float32 under bf16 is little beside the rest."""
    from mammut_clip.models.build import build_empty

    for name in ("ViT-B-32", "mammut_ViT-B-32", "coca_ViT-B-32", "ViT-B-32-SigLIP"):
        model = build_empty(load_model_config(name))
        groups: list[nn.Module] = [*model.blocks(), *(module for part in model.parts() for module in part)]  # type: ignore[operator]
        inside = {id(p) for module in groups for p in module.parameters()}
        outside = sum(p.numel() for p in model.parameters() if id(p) not in inside)
        assert outside < 0.01 * sum(p.numel() for p in model.parameters()), name
