"""The memory estimate: against what autograd keeps and what steps of the trainer hold, and how it moves.

Steps are counted over fake tensors (benchmarks/allocations.py); the resident sets of real ones are measured in
benchmarks/memory.py, whose results docs/cost.md quotes.
"""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from benchmarks.memory import NO_HOARDING, estimate_of, kept_of
from benchmarks.memory_step import Job, count_step, full_texts
from torch import Tensor

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.model import load_model_config
from mammut_clip.cost import parameters, training_memory_gb
from mammut_clip.cost.activations import Recompute
from mammut_clip.cost.loss_memory import CAPTION_CHUNK, PAIR_TILE
from mammut_clip.cost.memory import Precision
from mammut_clip.losses import chunked_caption_loss, contrastive_loss, sigmoid_loss
from mammut_clip.models.build import build_model
from mammut_clip.models.output import make_captions

RECOMPUTE = cast(tuple[Recompute, ...], ("none", "selective", "full"))
FAMILIES = ["clip", "siglip", "mammut", "coca", "cap"]
ROOT = Path(__file__).resolve().parents[2]


def values_of(family: str, width: int = 128) -> dict[str, Any]:
    """A model with the proportions of real ones, and few blocks."""
    text: dict[str, Any] = {"context_length": 32, "vocab_size": 2000, "width": width, "heads": 2, "layers": 2}
    vision = {"image_size": 96, "patch_size": 16, "width": 192, "layers": 2}
    values: dict[str, Any] = {"family": family, "embed_dim": width, "vision_cfg": vision, "text_cfg": text}
    if family in {"mammut", "cap"}:
        values["text_cfg"] |= {"cross_attn_ratio": 2, "has_mlp": False}
    if family == "mammut":
        values["vision_cfg"] |= {"pool_type": "avg_all", "final_ln_after_pool": True}
    if family == "coca":
        values["multimodal_cfg"] = {"width": width, "heads": 2, "layers": 1}
        values["vision_cfg"] |= {"attn_pooler_queries": 32}
    return values


@pytest.fixture
def model_file(tmp_path: Path) -> Callable[..., str]:
    """Writes a model's file and gives its path."""

    def write(family: str, **changes: dict[str, Any]) -> str:
        values = values_of(family)
        for part, keys in changes.items():
            values[part] = values[part] | keys if isinstance(keys, dict) else keys
        path = tmp_path / f"{family}.yaml"
        path.write_text(yaml.safe_dump(values))
        return str(path)

    return write


def saved_bytes(name: str, batch: int) -> int:
    """Bytes that autograd saves in a real forward pass in float32: each storage once, weights and inputs left out."""
    config = load_model_config(name)
    model, size = build_model(config), config.vision_cfg.image_size
    images, ids = torch.randn(batch, 3, size, size), full_texts(config, batch)
    captions = make_captions(ids) if config.writes_captions else None
    given = [*model.parameters(), images, ids, *(captions or ())]
    saved = {tensor.untyped_storage().data_ptr(): 0 for tensor in given}
    alive: list[Tensor] = []  # so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        saved.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(
            images,
            ids if config.has_features else None,
            captions,
            None if captions is None else chunked_caption_loss,
        )
    return sum(saved.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_what_autograd_saves(family: str, model_file: Callable[..., str]) -> None:
    job = Job(model_file(family), batch=8)
    # the bound is for what the formulas leave out: statistics of norms and attention, which weigh more in thin models
    assert kept_of(job, estimate_of(job)) * 1e9 == pytest.approx(saved_bytes(job.model, 8), rel=0.05)


@pytest.mark.parametrize("name", ["ViT-S-32", "mammut_ViT-S-32"])
def test_activations_of_published_models(name: str) -> None:
    job = Job(name, batch=4)
    assert kept_of(job, estimate_of(job)) * 1e9 == pytest.approx(saved_bytes(name, 4), rel=0.03)


@pytest.mark.parametrize(
    ("family", "precision", "recompute"),
    [
        ("clip", "fp32", "none"),
        ("clip", "bf16", "selective"),
        ("siglip", "fp32", "full"),
        ("mammut", "bf16", "none"),
        ("mammut", "fp32", "selective"),
        ("mammut", "fp32", "full"),
        ("coca", "fp32", "none"),
        ("coca", "bf16", "selective"),
        ("coca", "bf16", "full"),
        ("cap", "bf16", "none"),
        ("cap", "fp32", "full"),
    ],
)
def test_steps_on_one_device(
    family: str, precision: Precision, recompute: Recompute, model_file: Callable[..., str]
) -> None:
    job = Job(model_file(family), 64, 1, precision, recompute)
    held, estimate = count_step(job), estimate_of(job)
    assert kept_of(job, estimate) * 1e9 == pytest.approx(held.kept, rel=0.1)
    assert estimate.total * 1e9 == pytest.approx(held.peak, rel=0.05)


@pytest.mark.parametrize(("family", "recompute"), [("siglip", "none"), ("mammut", "full"), ("coca", "selective")])
def test_steps_on_eight_gpus(family: str, recompute: Recompute, model_file: Callable[..., str]) -> None:
    job = Job(model_file(family), 64, 8, "bf16", recompute)
    assert estimate_of(job).total * 1e9 == pytest.approx(count_step(job).peak, rel=0.05)


DDP: dict[str, int] = {"gpus": 8, "shards": 1}
HSDP: dict[str, int] = {"gpus": 8, "shards": 4}


@pytest.mark.parametrize(
    ("family", "parts", "precision", "recompute"),
    [
        ("clip", DDP, "fp32", "none"),
        ("mammut", DDP, "bf16", "full"),
        ("coca", HSDP, "bf16", "selective"),
    ],
)
def test_steps_with_more_copies_than_one(
    family: str, parts: dict[str, int], precision: Precision, recompute: Recompute, model_file: Callable[..., str]
) -> None:
    job = Job(model_file(family), 64, precision=precision, recompute=recompute, **parts)
    assert estimate_of(job).total * 1e9 == pytest.approx(count_step(job).peak, rel=0.05)


@pytest.mark.parametrize(
    ("family", "parts", "precision"),
    [
        ("cap", {"gpus": 1}, "bf16"),
        ("mammut", HSDP, "bf16"),
        ("siglip", DDP, "fp32"),
    ],
)
def test_steps_in_micro_batches(
    family: str, parts: dict[str, int], precision: Precision, model_file: Callable[..., str]
) -> None:
    job = Job(model_file(family), 64, precision=precision, micro_batch=32, **parts)
    held, whole = count_step(job), estimate_of(replace(job, micro_batch=None))
    assert estimate_of(job).total * 1e9 == pytest.approx(held.peak, rel=0.05)
    assert estimate_of(job).total < 0.85 * whole.total


def test_the_loss_over_pairs_has_its_moment(model_file: Callable[..., str]) -> None:
    """Where micro-batches are tiny beside the global batch, it is the fullest one."""
    thin = {"layers": 1}
    job = Job(model_file("clip", vision_cfg=thin, text_cfg=thin), 256, 512, "bf16", micro_batch=64)
    estimate = estimate_of(job)
    assert estimate.losses > 2 * estimate.activations
    assert estimate.total * 1e9 == pytest.approx(count_step(job).peak, rel=0.05)


def test_variants_that_keep_more_or_less(model_file: Callable[..., str]) -> None:
    """OpenAI's GELU and LayerScale keep more, patch dropout less; each is in the formula."""
    plain = Job(model_file("clip"), 8)
    base = estimate_of(plain).activations
    more = Job(model_file("clip", quick_gelu=True, vision_cfg={"ls_init_value": 0.1}), 8)
    assert estimate_of(more).activations > 1.1 * base
    assert kept_of(more, estimate_of(more)) * 1e9 == pytest.approx(saved_bytes(more.model, 8), rel=0.05)
    less = Job(model_file("clip", vision_cfg={"patch_dropout": 0.5}), 8)
    assert estimate_of(less).activations < 0.8 * base


def test_a_real_step_takes_the_resident_set_as_far(model_file: Callable[..., str]) -> None:
    job = Job(model_file("mammut"), 256)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory_step", json.dumps(asdict(job))],
        env=os.environ | NO_HOARDING,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert estimate_of(job).total * 1e9 == pytest.approx(int(done.stdout), rel=0.2)


@pytest.mark.parametrize("loss", [contrastive_loss, sigmoid_loss])
def test_chunks_are_those_of_the_losses(loss: Callable[..., Tensor]) -> None:
    assert inspect.signature(loss).parameters["tile"].default == PAIR_TILE
    assert inspect.signature(chunked_caption_loss).parameters["chunk_tokens"].default == CAPTION_CHUNK


def test_state_is_twelve_bytes_a_parameter_over_the_gpus() -> None:
    config = load_model_config("ViT-L-14")
    one, eight = (training_memory_gb(config, 64, gpus, "bf16") for gpus in (1, 8))
    assert one.state == pytest.approx(12 * parameters(config).total / 1e9)
    assert eight.state == pytest.approx(one.state / 8)
    assert eight.losses > one.losses  # the global batch has grown


def test_where_the_state_is() -> None:
    config = load_model_config("ViT-L-14")
    count = parameters(config).total
    state = partial(training_memory_gb, config, 64, 8, "bf16")
    assert state(shards=8) == state()
    assert state(shards=2).state == pytest.approx(12 * count / 2e9)
    assert state(shards=1).state == pytest.approx(16 * count / 1e9)  # and buckets of gradients
    assert state(cpu_offload=True).state == 0
    assert state(cpu_offload=True).total < state().total
    assert state(shards=1).losses == pytest.approx(state().losses)  # the global batch is the same


def test_a_micro_batch_as_large_as_the_share_is_none() -> None:
    config = load_model_config("mammut_ViT-B-32")
    whole = training_memory_gb(config, 256, 8, "bf16")
    assert training_memory_gb(config, 256, 8, "bf16", micro_batch=256) == whole
    assert training_memory_gb(config, 256, 8, "bf16", micro_batch=1000) == whole
    parts = [training_memory_gb(config, 256, 8, "bf16", micro_batch=size).total for size in (16, 32, 64, 128)]
    assert parts == sorted(parts)
    assert parts[-1] < whole.total


@pytest.mark.parametrize("shards", [0, 3, 16])
def test_copies_are_whole(shards: int) -> None:
    with pytest.raises(ValueError, match=f"8 GPUs cannot hold whole copies that {shards}"):
        training_memory_gb(load_model_config("ViT-B-32"), 64, 8, "bf16", shards=shards)


def test_what_grows_with_what() -> None:
    clip, mammut = (load_model_config(name) for name in ("ViT-B-32", "mammut_ViT-B-32"))
    base = training_memory_gb(mammut, 256, 8, "bf16")
    assert base.total > training_memory_gb(clip, 256, 8, "bf16").total
    assert training_memory_gb(mammut, 512, 8, "bf16").activations == pytest.approx(2 * base.activations)
    assert training_memory_gb(mammut, 256, 8, "fp32").activations == pytest.approx(2 * base.activations)
    kept = [training_memory_gb(mammut, 256, 8, "bf16", recompute) for recompute in RECOMPUTE]
    assert [e.total for e in kept] == sorted((e.total for e in kept), reverse=True)
    parts = (base.state, base.gathered, base.inputs, base.activations, base.losses, base.backward)
    assert base.total == pytest.approx(sum(parts))


def test_a_small_batch_needs_room_for_gradients() -> None:
    """Below some batch it is the gradients of all parameters that fill the memory: 16 bytes a parameter."""
    config = load_model_config("ViT-B-32")
    assert training_memory_gb(config, 1, 1, "fp32").total * 1e9 == pytest.approx(
        16 * parameters(config).total, rel=0.05
    )


def test_a_tower_of_another_package_has_no_estimate() -> None:
    cost = {"params": 1000, "gflops_paper": 1.0, "gflops_exact_forward": 2.0, "gflops_exact_step": 5.0}
    values = values_of("clip") | {"vision_cfg": {"timm": "resnet10t", "cost": cost}}
    with pytest.raises(ConfigError, match=r"vision_cfg = 'resnet10t': .*our own"):
        training_memory_gb(load_model_config(values), 1, 1, "fp32")
