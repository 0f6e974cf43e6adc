"""FLOPs: the published figures in the paper's convention, and what torch counts when our models run."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mammut_clip.config.model import CocaConfig, ModelConfig, load_model_config
from mammut_clip.cost import UnmeasuredTowerError, gflops_per_sample
from mammut_clip.models.build import build_model
from mammut_clip.models.measure import with_costs
from mammut_clip.models.output import ModelOutput, make_captions


def test_published_figures(shared_dir: Path) -> None:
    table = pd.read_csv(shared_dir / "data/paper/model_profile.csv")
    assert len(table) == 56
    for row in table.itertuples():
        paper = gflops_per_sample(load_model_config(row.model)).paper
        assert paper == pytest.approx(row.gflops, rel=1e-3), row.model
        assert paper == pytest.approx(row.gflops, abs=0.005001, rel=0), row.model  # its last digit


def small(name: str, **parts: dict[str, Any]) -> ModelConfig:
    """A toy model with a context as long as its pictures have patches, so that attention weighs something."""
    values = load_model_config(name).model_dump()
    values["vision_cfg"] |= {"image_size": 64}
    values["text_cfg"] |= {"context_length": 77, "vocab_size": 500}
    for part, keys in parts.items():
        values[part] |= keys
    return load_model_config(values)


BATCH = 2
MODELS = {
    "clip": small("toy-S"),
    "clip, deeper": small("toy-M", text_cfg={"layers": 3, "mlp_ratio": 3.0}),
    "clip, patch dropout": small("toy-S", vision_cfg={"patch_dropout": 0.6}),
    "siglip": small("toy-S-SigLIP"),
    "mammut": small("mammut_toy-S"),
    "mammut, every block with an MLP": small("mammut_toy-XS", text_cfg={"has_mlp": True}),
    "mammut, patch dropout": small("mammut_toy-S", vision_cfg={"patch_dropout": 0.6}),
    "mammut, padding masked": small("mammut_toy-S", text_cfg={"text_pooling": "mean_valid"}),
    "coca": small("coca_toy-S", text_cfg={"context_length": 76}),
    "coca, towers of unequal width": small("coca_toy-S", vision_cfg={"width": 96, "attn_pooler_queries": 33}),
    "cap": small("cap_toy-S"),
    "cap, patch dropout": small("cap_toy-S", vision_cfg={"patch_dropout": 0.6}),
}


def whole_logits_loss(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(hidden @ head, labels, reduction="sum")


def run(model: torch.nn.Module, config: ModelConfig) -> ModelOutput:
    """A training step's forward pass with texts that fill the context."""
    vision, text = config.vision_cfg, config.text_cfg
    ids = torch.randint(1, 498, (BATCH, text.context_length))
    ids[:, -1] = 499
    captions = make_captions(ids) if config.writes_captions else None
    kept = None
    if vision.kept_patches < vision.patches:
        kept = torch.arange(vision.kept_patches).expand(BATCH, -1)
    loss = whole_logits_loss if captions else None
    return model(torch.randn(BATCH, 3, 64, 64), ids if config.has_features else None, captions, loss, kept)


def counted(model: torch.nn.Module, config: ModelConfig) -> tuple[float, float]:
    """GFLOPs of the forward pass and of the step, per sample."""
    with FlopCounterMode(display=False) as forward:
        output = run(model, config)
    with FlopCounterMode(display=False) as backward:
        parts = (output.image_features, output.text_features, output.caption_loss_sum)
        sum(part.sum() for part in parts if part is not None).backward()
    once, back = forward.get_total_flops(), backward.get_total_flops()
    return once / BATCH / 1e9, (once + back) / BATCH / 1e9


def queries_once(config: ModelConfig) -> tuple[float, float]:
    """What CoCa's pooler spends on its queries for the whole batch, which no sample is charged with."""
    if not isinstance(config, CocaConfig):
        return 0.0, 0.0
    once = 2 * config.vision_cfg.attn_pooler_queries * config.embed_dim**2 / BATCH / 1e9
    return once, 3 * once


@pytest.mark.parametrize("which", MODELS)
def test_exact_figures_are_what_torch_counts(which: str) -> None:
    config = MODELS[which]
    model, expected = build_model(config), gflops_per_sample(config)
    # plain attention: the fused kernels' backward pass makes the scores again, which is not counted here
    with sdpa_kernel(SDPBackend.MATH):
        forward, step = counted(model, config)
    shared_forward, shared_step = queries_once(config)
    assert forward - shared_forward == pytest.approx(expected.exact_forward, rel=1e-4)
    assert step - shared_step == pytest.approx(expected.exact_step, rel=1e-4)


@pytest.mark.parametrize("which", ["clip", "mammut", "coca", "cap"])
def test_fused_attention_counts_the_same_forward(which: str) -> None:
    config = MODELS[which]
    with FlopCounterMode(display=False) as fused, torch.no_grad():
        run(build_model(config), config)
    found = fused.get_total_flops() / BATCH / 1e9 - queries_once(config)[0]
    assert found == pytest.approx(gflops_per_sample(config).exact_forward, rel=1e-4)


def test_patch_dropout_makes_steps_cheaper_and_leaves_the_published_unit() -> None:
    whole, dropped = (gflops_per_sample(MODELS[which]) for which in ("clip", "clip, patch dropout"))
    assert dropped.paper == whole.paper
    assert dropped.exact_step < 0.8 * whole.exact_step


def test_masked_padding_costs_as_much() -> None:
    masked, whole = (gflops_per_sample(MODELS[which]) for which in ("mammut, padding masked", "mammut"))
    assert masked == whole


def test_a_measured_tower_is_added_to_ours() -> None:
    text = {"width": 32, "heads": 2, "layers": 1, "context_length": 8, "vocab_size": 96}
    values: dict[str, Any] = {"family": "clip", "embed_dim": 32, "text_cfg": text}
    outside = load_model_config(values | {"vision": {"timm": "vit_tiny_patch16_224", "image_size": 64}})
    with pytest.raises(UnmeasuredTowerError):
        gflops_per_sample(outside)
    ours = {"width": 192, "layers": 12, "head_width": 64, "patch_size": 16, "image_size": 64}
    known, same = (
        gflops_per_sample(with_costs(outside)),
        gflops_per_sample(load_model_config(values | {"vision": ours})),
    )
    # the same architecture in timm's code and in ours
    assert known.paper == pytest.approx(same.paper, rel=1e-4)
    assert known.exact_forward == pytest.approx(same.exact_forward, rel=1e-4)
    assert known.exact_step == pytest.approx(same.exact_step, rel=1e-4)
