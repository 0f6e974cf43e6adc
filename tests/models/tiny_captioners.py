"""Captioners so small that tests can try all texts, and pictures for them."""

from typing import Any

import torch
from torch import Tensor

from mammut_clip.config.model import load_model_config
from mammut_clip.models import build_model

FAMILIES = ("mammut", "cap", "coca")


def tiny(family: str = "mammut", seed: int = 0, vocabulary: int = 12, context: int = 9, spread: float = 0.4) -> Any:
    """A small model in float64, all of whose weights matter; the larger `spread`, the surer it is of the next token."""
    vision: dict[str, Any] = {"image_size": 8, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4}
    text: dict[str, Any] = {"context_length": context, "vocab_size": vocabulary, "width": 16, "heads": 2, "layers": 2}
    config = {"family": family, "embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    if family == "coca":
        vision |= {"attn_pooler_queries": 4, "attn_pooler_heads": 2}
        config["multimodal_cfg"] = {"width": 16, "heads": 2, "layers": 2}
    else:
        text |= {"layers": 4, "cross_attn_ratio": 2, "has_mlp": seed % 2 == 0}
    if family == "mammut":
        vision |= {"pool_type": "avg_all", "final_ln_after_pool": True}
    model = build_model(load_model_config(config)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=spread, generator=generator)
            elif name.endswith("bias"):
                parameter.normal_(std=0.1, generator=generator)
    return model


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)).double()
