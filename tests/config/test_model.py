"""Model configs: open_clip's keys are read, what cannot be built is refused with a message that says why."""

import json
from pathlib import Path
from typing import Any

import pytest

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.model import ModelConfig, list_model_names, load_model_config


def mammut(**changes: Any) -> dict[str, Any]:
    """A small MaMMUT as open_clip's JSON writes it; `vision_cfg__x`, `text_cfg__x` change nested values."""
    values: dict[str, Any] = {
        "family": "mammut",
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 32,
            "patch_size": 8,
            "width": 32,
            "layers": 2,
            "head_width": 16,
            "output_tokens": True,
            "pool_type": "avg_all",
            "final_ln_after_pool": True,
        },
        "text_cfg": {
            "width": 32,
            "heads": 2,
            "layers": 4,
            "cross_attn_ratio": 2,
            "output_tokens": True,
            "does_full_decoding": True,
        },
    }
    for key, value in changes.items():
        outer, _, inner = key.partition("__")
        if inner:
            values[outer][inner] = value
        else:
            values[outer] = value
    return values


def test_shipped_models_are_the_papers(shared_dir: Path) -> None:
    published = json.loads((shared_dir / "data/paper/model_configs.json").read_text())
    rows = {
        name: "mammut" if name.startswith("mammut_") else "clip"
        for name in published
        if not name.startswith("coca_") and "SigLIP" not in name
    }
    assert len(rows) == 35
    assert rows.keys() <= set(list_model_names())
    for name, family in rows.items():
        assert load_model_config(name) == load_model_config({"family": family, **published[name]}), name


def test_every_shipped_model_loads_and_toy_pairs_match() -> None:
    for name in list_model_names():
        load_model_config(name)
    for scale in ("XS", "S", "M", "L"):
        clip, partner = load_model_config(f"toy-{scale}"), load_model_config(f"mammut_toy-{scale}")
        assert clip.text_cfg.width == partner.text_cfg.width
        assert clip.text_cfg.hf_tokenizer_name == partner.text_cfg.hf_tokenizer_name
        assert clip.vision_cfg.layers == partner.vision_cfg.layers


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vision_cfg__image_size": 30}, "image_size 30 is not a multiple of patch_size 8"),
        ({"vision_cfg__head_width": 5}, "width 32 is not a multiple of head_width 5"),
        ({"text_cfg__heads": 3}, "width 32 is not a multiple of heads 3"),
        ({"text_cfg__layers": 3}, "layers 3 is not a multiple of cross_attn_ratio 2"),
        ({"text_cfg__cross_attn_ratio": None}, "cross_attn_ratio is required"),
        ({"text_cfg__width": 64}, "differs from embed_dim 32"),
        ({"vision_cfg__pool_type": "tok"}, "needs vision_cfg.pool_type = avg_all"),
        ({"vision_cfg__pool_type": "avg"}, "'tok' or 'avg_all'"),
        ({"vision_cfg__output_tokens": False}, "only value that can be built is True"),
        ({"custom_text": False}, "only value that can be built is True"),
        ({"family": "clip", "custom_text": False}, "cross_attn_ratio belongs to family mammut"),
        ({"family": "coca"}, "'clip' or 'mammut'"),
        ({"vision_cfg__patch_sise": 8}, "did you mean patch_size"),
        ({"text_cfg__layers": 0}, "greater than or equal to 1"),
    ],
)
def test_impossible_models_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match="model") as refused:
        load_model_config(mammut(**changes), source="here.yaml")
    assert said in str(refused.value)
    assert "here.yaml" in str(refused.value)


def test_family_is_never_guessed() -> None:
    values = mammut()
    del values["family"]
    with pytest.raises(ConfigError, match=r"model\.family: this key is required"):
        load_model_config(values)


def test_unknown_name_brings_the_nearest_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean ViT-B-32"):
        load_model_config("ViT-B32")


def test_a_path_and_a_config_are_taken_as_they_are(tmp_path: Path) -> None:
    config = load_model_config("toy-S")
    path = tmp_path / "mine.json"
    path.write_text(config.model_dump_json())
    assert load_model_config(path) == config
    assert load_model_config(config) is config


def test_mlp_is_left_out_before_cross_attention_only() -> None:
    text = ModelConfig.model_validate(mammut(text_cfg__has_mlp=False)).text_cfg
    assert [text.layer_has_mlp(layer) for layer in range(4)] == [False, True, False, True]
    assert text.cross_layers == 2
