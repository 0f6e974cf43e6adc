"""mammut-clip: train CLIP and MaMMUT at every scale, sweep, evaluate zero-shot and fit scaling laws.

    model, train_transform, eval_transform = mammut_clip.create_model_and_transforms("mammut_ViT-B-32")
    tokenizer = mammut_clip.get_tokenizer("mammut_ViT-B-32")

The names below load torch when they are first used; planning, watching and fitting never do.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mammut_clip.api import create_model, create_model_and_transforms, get_tokenizer, list_models

__all__ = ["create_model", "create_model_and_transforms", "get_tokenizer", "list_models"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("mammut_clip.api"), name)
    raise AttributeError(f"module 'mammut_clip' has no attribute {name!r}")
