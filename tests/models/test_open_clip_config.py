"""open_clip's keys: the paper's own files are what is written, and are read back."""

import json
from pathlib import Path
from typing import Any

import pytest

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.model import list_model_names, load_model_config
from mammut_clip.models.exchange.open_clip_config import from_open_clip, to_open_clip

UNREAD = {"vision_cfg": {"attn_pooler_heads": 8}, "multimodal_cfg": {"attn_pooler_heads": None}}
"""Keys of the paper's files that are open_clip's default, or (None) that nothing reads."""
MAMMUT = {
    "embed_dim": 32,
    "vision_cfg": {"layers": 1, "width": 64, "patch_size": 16, "pool_type": "avg_all", "final_ln_after_pool": True},
    "text_cfg": {"width": 32, "heads": 2, "layers": 2, "cross_attn_ratio": 2},
}


def without_unread(values: dict[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for tower, unread in UNREAD.items():
        if tower in result:
            result[tower] = {k: v for k, v in result[tower].items() if k not in unread or unread[k] not in (None, v)}
    return result


def test_the_papers_configs_are_written_and_read(shared_dir: Path) -> None:
    published = json.loads((shared_dir / "data/paper/model_configs.json").read_text())
    assert len(published) == 56
    for name, values in published.items():
        config = load_model_config(name)
        assert without_unread(to_open_clip(config)) == without_unread(values), name
        assert from_open_clip(values, name) == config, name


@pytest.mark.parametrize("name", [name for name in list_model_names() if not name.startswith("cap_")])
def test_every_shipped_model_comes_back(name: str) -> None:
    config = load_model_config(name)
    assert from_open_clip(json.loads(json.dumps(to_open_clip(config))), name) == config


def test_cap_is_a_mammut_to_the_released_code() -> None:
    written = to_open_clip(load_model_config("cap_ViT-B-32"))
    expected = to_open_clip(load_model_config("mammut_ViT-B-32"))
    assert written == expected


@pytest.mark.parametrize(
    "values",
    [
        {"family": "clip", "embed_dim": 8, "vision_cfg": {"timm": "resnet18"}, "text_cfg": {"transformers": "bert"}},
        {"family": "siglip", "embed_dim": 8, "vision_cfg": {"timm": "resnet18"}, "text_cfg": {"transformers": "bert"}},
    ],
)
def test_towers_of_other_packages_come_back(values: dict[str, Any]) -> None:
    config = load_model_config(values)
    written = to_open_clip(config)
    assert (written["vision_cfg"]["timm_pool"], written["text_cfg"]["hf_proj_type"]) == ("", "linear")
    assert from_open_clip(written, "here") == config


def test_open_clips_defaults_are_not_taken_for_ours() -> None:
    values = to_open_clip(
        load_model_config(
            {"family": "clip", "embed_dim": 8, "vision_cfg": {"timm": "resnet18"}, "text_cfg": {"transformers": "bert"}}
        )
    )
    del values["text_cfg"]["hf_proj_type"]
    assert from_open_clip(values, "here").text_cfg.hf_proj_type == "mlp"  # type: ignore[union-attr]
    del values["vision_cfg"]["timm_pool"]
    with pytest.raises(ConfigError, match="timm_pool = 'avg'"):
        from_open_clip(values, "here")


def test_what_the_other_program_cannot_do_is_not_hidden_from_it() -> None:
    text = {**MAMMUT["text_cfg"], "text_pooling": "mean_valid"}
    config = load_model_config({"family": "mammut", **MAMMUT, "text_cfg": text})
    assert to_open_clip(config)["text_cfg"]["text_pooling"] == "mean_valid"


def test_architectures_that_are_not_ours_are_refused_by_key() -> None:
    values = to_open_clip(load_model_config("ViT-B-32"))
    values["text_cfg"]["no_causal_mask"] = True
    with pytest.raises(ConfigError, match=r"in FILE\n *model_cfg\.text_cfg\.no_causal_mask: unknown key"):
        from_open_clip(values, "FILE")
