"""Parameter counts: the published ones, and those of the models that are built."""

from pathlib import Path
from typing import Any

import open_clip
import pandas as pd
import pytest
import torch
from open_clip.factory import CoCa

from mammut_clip.config.model import CocaConfig, ModelConfig, list_model_names, load_model_config
from mammut_clip.cost import UnmeasuredTowerError, parameters, unmeasured
from mammut_clip.models.build import build_empty


def test_published_counts(shared_dir: Path) -> None:
    table = pd.read_csv(shared_dir / "data/paper/model_profile.csv")
    assert len(table) == 56
    for row in table.itertuples():
        config = load_model_config(row.model)
        assert config.family == row.namespace
        count = parameters(config)
        for ours, published in (
            (count.total, row.mparams),
            (count.image, row.image_mparams),
            (count.text, row.text_mparams),
        ):
            assert round(ours / 1e6, 2) == pytest.approx(published, abs=1e-9), row.model


@pytest.mark.parametrize("name", list_model_names())
def test_every_shipped_model_has_the_counted_parameters(name: str) -> None:
    config = load_model_config(name)
    model, count = build_empty(config), parameters(config)
    assert count.total == sum(p.numel() for p in model.parameters())
    assert count.image == sum(p.numel() for p in model.visual.parameters())
    if hasattr(model, "text"):
        assert count.text == sum(p.numel() for p in model.text.parameters())
    else:  # CLIP's text tower stands at the top level
        beside = {"logit_scale", "logit_bias"}
        text = [p for key, p in model.named_parameters() if not key.startswith("visual.") and key not in beside]
        assert count.text == sum(p.numel() for p in text)


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("toy-XS", {"vision_cfg": {"ls_init_value": 0.1}}),
    ("toy-XS", {"vision_cfg": {"mlp_ratio": 2.5, "pool_type": "avg_all"}, "text_cfg": {"mlp_ratio": 3.0}}),
    ("mammut_toy-S", {"vision_cfg": {"patch_dropout": 0.5}, "text_cfg": {"text_pooling": "mean_valid"}}),
    ("mammut_toy-S", {"text_cfg": {"has_mlp": True}}),
    ("mammut_toy-S", {"text_cfg": {"cross_attn_ratio": 1, "has_mlp": False}}),
    ("coca_toy-S", {"vision_cfg": {"width": 32, "attn_pooler_queries": 7}}),
    ("coca_toy-S", {"vision_cfg": {"width": 64}, "multimodal_cfg": {"layers": 1}}),
    ("cap_toy-S", {"text_cfg": {"has_mlp": True}}),
]


def changed(name: str, changes: dict[str, Any]) -> ModelConfig:
    values = load_model_config(name).model_dump()
    for part, keys in changes.items():
        values[part] |= keys
    return load_model_config(values)


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_what_a_config_changes_is_counted(name: str, changes: dict[str, Any]) -> None:
    config = changed(name, changes)
    model = build_empty(config)
    assert parameters(config).total == sum(p.numel() for p in model.parameters())
    assert parameters(config).image == sum(p.numel() for p in model.visual.parameters())


def test_coca_counts_are_open_clips_own() -> None:
    config = load_model_config("coca_ViT-S-32")
    assert isinstance(config, CocaConfig)
    vision, text, decoder = config.vision_cfg, config.text_cfg, config.multimodal_cfg
    with torch.device("meta"):
        theirs = CoCa(
            config.embed_dim,
            multimodal_cfg=open_clip.coca_model.MultimodalCfg(
                context_length=76, width=decoder.width, heads=decoder.heads, layers=decoder.layers
            ),
            text_cfg=open_clip.CLIPTextCfg(
                context_length=76, width=text.width, heads=text.heads, layers=text.layers, embed_cls=True
            ),
            vision_cfg=open_clip.CLIPVisionCfg(
                layers=vision.layers, width=vision.width, patch_size=vision.patch_size, attentional_pool=True
            ),
        )
    count = parameters(config)
    assert count.total == sum(p.numel() for p in theirs.parameters())
    assert count.image == sum(p.numel() for p in theirs.visual.parameters())
    assert count.text == sum(p.numel() for p in theirs.text.parameters())


TIMM: dict[str, Any] = {
    "family": "siglip",
    "embed_dim": 32,
    "vision": {"timm": "resnet10t", "image_size": 64},
    "text_cfg": {"width": 32, "heads": 2, "layers": 1, "context_length": 8, "vocab_size": 96},
}
COST = {"params": 1000, "gflops_paper": 1.0, "gflops_exact_forward": 2.0, "gflops_exact_step": 5.0}


def test_a_tower_of_another_package_counts_as_its_config_says() -> None:
    config = load_model_config(TIMM | {"vision": TIMM["vision"] | {"cost": COST}})
    ours = parameters(load_model_config(TIMM | {"vision": {"width": 64, "layers": 1, "patch_size": 32}}))
    count = parameters(config)
    assert (count.image, count.text) == (1000, ours.text)
    assert count.total == 1000 + ours.text + 2  # scale and bias


def test_a_tower_whose_cost_nobody_knows_is_refused_with_the_way_out() -> None:
    config = load_model_config(TIMM)
    assert unmeasured(config) == {"vision_cfg.cost": "resnet10t"}
    with pytest.raises(UnmeasuredTowerError, match=r"vision_cfg\.cost: .*resnet10t.*`mammut-clip models FILE`"):
        parameters(config)
