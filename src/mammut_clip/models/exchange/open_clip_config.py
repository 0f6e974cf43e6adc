"""The architecture of a model under open_clip's own keys, and back.

`to_open_clip` writes what open_clip 3 builds the same model from (clip, siglip, coca), or LAION's open_clip_mammut
(mammut; Cap is a MaMMUT there). What the other program has no key for is written as it is here, and makes it refuse
the file instead of computing something else. `from_open_clip` tells the family by the keys that open_clip itself
chooses the class of a model by.
"""

from typing import Any

from mammut_clip.config.model import (
    CapConfig,
    ClipConfig,
    CocaConfig,
    MammutConfig,
    ModelConfig,
    SiglipConfig,
    load_model_config,
)
from mammut_clip.config.towers import AnyTextConfig, AnyVisionConfig, HfTextConfig, TimmConfig

_ALWAYS = {"image_size", "context_length", "vocab_size"}
# These change nothing once weights are loaded.
_STARTING_VALUES = ("init_logit_scale", "nonscalar_logit_scale", "custom_text")


def to_open_clip(config: ModelConfig) -> dict[str, Any]:
    """What stands under `model_cfg` in open_clip_config.json."""
    values: dict[str, Any] = {
        "embed_dim": config.embed_dim,
        "vision_cfg": _vision(config.vision_cfg),
        "text_cfg": _text(config.text_cfg),
    }
    if isinstance(config, ClipConfig | CocaConfig) and config.quick_gelu:
        values["quick_gelu"] = True
    if isinstance(config, SiglipConfig):
        values["init_logit_bias"] = config.init_logit_bias
    if isinstance(config, CocaConfig):
        values["vision_cfg"] |= {"attentional_pool": True, "output_tokens": True}
        values["text_cfg"] |= {"embed_cls": True, "output_tokens": True}
        sizes = {"context_length": config.text_cfg.context_length, "vocab_size": config.text_cfg.vocab_size}
        values["multimodal_cfg"] = config.multimodal_cfg.model_dump(mode="json", exclude_defaults=True) | sizes
    if isinstance(config, MammutConfig | CapConfig):
        values["vision_cfg"] |= {"output_tokens": True, "pool_type": "avg_all", "final_ln_after_pool": True}
        values["text_cfg"] |= {"output_tokens": True, "does_full_decoding": True}
    if isinstance(config, MammutConfig | CapConfig | CocaConfig) or isinstance(config.text_cfg, HfTextConfig):
        values["custom_text"] = True
    return values


def from_open_clip(values: dict[str, Any], source: str) -> ModelConfig:
    """The config that open_clip's `model_cfg` describes; ConfigError, naming `source`, where it is none of ours."""
    family, text, vision = _family(values), values.get("text_cfg"), values.get("vision_cfg")
    kept = {key: value for key, value in values.items() if key not in _STARTING_VALUES}
    if family == "clip":
        kept.pop("init_logit_bias", None)
    if isinstance(vision, dict) and "timm_model_name" in vision:
        kept["vision_cfg"] = {"timm_pool": "avg", **vision, "timm_model_pretrained": False}
    if isinstance(text, dict) and "hf_model_name" in text:
        kept["text_cfg"] = {"hf_proj_type": "mlp", **text, "hf_model_pretrained": False}
    return load_model_config({**kept, "family": family}, source, key="model_cfg")


def _family(values: dict[str, Any]) -> str:
    if "multimodal_cfg" in values:
        return "coca"
    if "cross_attn_ratio" in (values.get("text_cfg") or {}):
        return "mammut"
    return "clip" if values.get("init_logit_bias") is None else "siglip"


def _vision(tower: AnyVisionConfig) -> dict[str, Any]:
    values = _told(tower)
    if isinstance(tower, TimmConfig):
        values |= {"timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear"}
    return values


def _text(tower: AnyTextConfig) -> dict[str, Any]:
    values = _told(tower)
    if isinstance(tower, HfTextConfig):
        values |= {"hf_model_pretrained": False, "hf_pooler_type": tower.hf_pooler_type}
        values["hf_proj_type"] = tower.hf_proj_type
    return values


def _told(tower: AnyVisionConfig | AnyTextConfig) -> dict[str, Any]:
    """What differs from the defaults, which are open_clip's too, and the sizes that readers look for."""
    told = tower.model_dump(mode="json", exclude_defaults=True, exclude={"cost"})
    return tower.model_dump(mode="json", include=_ALWAYS) | told
