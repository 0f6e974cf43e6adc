"""Model configs: open_clip's keys are read, what cannot be built is refused with a message that says why."""

import json
from pathlib import Path
from typing import Any

import pytest

from mammut_clip.config.errors import ConfigError
from mammut_clip.config.model import list_model_names, load_model_config
from mammut_clip.config.towers import MammutTextConfig


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
    assert len(published) == 56
    assert published.keys() <= set(list_model_names())
    for name, row in published.items():
        prefix, _, rest = name.partition("_")
        family = prefix if rest else "siglip" if name.endswith("-SigLIP") else "clip"
        assert load_model_config(name) == load_model_config({"family": family, **row}), name


def test_every_shipped_model_loads() -> None:
    for name in list_model_names():
        load_model_config(name)


@pytest.mark.parametrize("scale", ["XS", "S", "M", "L"])
@pytest.mark.parametrize("partner", ["mammut_toy-{}", "coca_toy-{}", "cap_toy-{}", "toy-{}-SigLIP"])
def test_toy_families_match(scale: str, partner: str) -> None:
    clip, other = load_model_config(f"toy-{scale}"), load_model_config(partner.format(scale))
    assert clip.embed_dim == other.embed_dim
    for key in ("context_length", "vocab_size", "hf_tokenizer_name", "width", "heads", "layers"):
        assert getattr(clip.text_cfg, key) == getattr(other.text_cfg, key), key
    for key in ("image_size", "patch_size", "width", "head_width", "layers", "mlp_ratio"):
        assert getattr(clip.vision_cfg, key) == getattr(other.vision_cfg, key), key


def test_every_cap_is_the_half_of_a_mammut() -> None:
    names = [name for name in list_model_names() if name.startswith("cap_")]
    assert len(names) == 11
    pooling = {"pool_type": "avg_all", "final_ln_after_pool": True}
    for name in names:
        values = load_model_config(name).model_dump()
        values |= {"family": "mammut", "vision_cfg": values["vision_cfg"] | pooling}
        assert load_model_config(values) == load_model_config(name.replace("cap_", "mammut_")), name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vision_cfg__image_size": 30}, "image_size 30 is not a multiple of patch_size 8"),
        ({"vision_cfg__head_width": 5}, "width 32 is not a multiple of head_width 5"),
        ({"text_cfg__heads": 3}, "width 32 is not a multiple of heads 3"),
        ({"text_cfg__layers": 3}, "layers 3 is not a multiple of cross_attn_ratio 2"),
        ({"text_cfg__cross_attn_ratio": None}, "text_cfg.cross_attn_ratio"),
        ({"text_cfg__width": 64}, "differs from embed_dim 32"),
        ({"vision_cfg__pool_type": "tok"}, "needs vision_cfg.pool_type = avg_all"),
        ({"vision_cfg__pool_type": "avg"}, "'tok' or 'avg_all'"),
        ({"vision_cfg__output_tokens": False}, "only value that can be built is True"),
        ({"custom_text": False}, "only value that can be built is True"),
        ({"family": "clip", "custom_text": False}, "cross_attn_ratio belongs to families mammut and cap"),
        ({"family": "blip"}, "expected clip, siglip, mammut, coca, cap"),
        ({"vision_cfg__patch_sise": 8}, "did you mean patch_size"),
        ({"text_cfg__layers": 0}, "greater than or equal to 1"),
    ],
)
def test_impossible_models_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match="model") as refused:
        load_model_config(mammut(**changes), source="here.yaml")
    assert said in str(refused.value)
    assert "here.yaml" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"embed_dim": 64}, "embed_dim 64, text_cfg.width 32 and multimodal_cfg.width 32 differ"),
        ({"vision_cfg": {"attn_pooler_heads": 5}}, "not a multiple of vision_cfg.attn_pooler_heads 5"),
        ({"vision_cfg": {"patch_dropout": 0.5}}, "patch_dropout = 0.5"),
        ({"vision_cfg": {"attentional_pool": "parallel"}}, "only value that can be built is True"),
        ({"text_cfg": {"embed_cls": False}}, "only value that can be built is True"),
        ({"multimodal_cfg": {"heads": 5}}, "width 32 is not a multiple of heads 5"),
        ({"multimodal_cfg": None}, "multimodal_cfg"),
    ],
)
def test_impossible_cocas_are_refused(changes: dict[str, Any], said: str) -> None:
    values = load_model_config("coca_toy-XS").model_dump()
    for key, change in changes.items():
        values[key] = values[key] | change if isinstance(change, dict) else change
    with pytest.raises(ConfigError, match=r"here\.yaml") as refused:
        load_model_config(values, source="here.yaml")
    assert said in str(refused.value)


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
    text = load_model_config(mammut(text_cfg__has_mlp=False)).text_cfg
    assert isinstance(text, MammutTextConfig)
    assert [text.layer_has_mlp(layer) for layer in range(4)] == [False, True, False, True]
    assert text.cross_layers == 2
