"""Do tensors of these names and shapes fill a model? If not: what differs, and which shipped models they fill.

Works on shapes alone, so that nothing large is read or built to answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from mammut_clip.config.errors import InputError
from mammut_clip.config.model import CapConfig, ModelConfig, list_model_names, load_model_config
from mammut_clip.config.towers import TimmConfig
from mammut_clip.models.build import build_empty

Shapes = Mapping[str, torch.Size]
"""Names, as our models have them, to shapes."""

# What published files carry beside weights: sizes (OpenAI's), masks and positions that are computed here.
_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "text.transformer.embeddings.position_ids")
_MASK = "attn_mask"
# LAION trained Cap as a MaMMUT whose contrastive loss had weight 0: these were never trained.
_UNUSED_BY_CAP = ("visual.ln_post.weight", "visual.ln_post.bias", "visual.proj", "logit_scale")
_CONV = "visual.conv1.weight"
_SHOWN = 6


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The shapes of tensors."""
    return {key: tensor.shape for key, tensor in state.items()}


def fitting_models(shapes: Shapes) -> list[str]:
    """The shipped models that tensors of these shapes fill, by name; first those that leave none of them out.

    Head counts and activations leave no trace in shapes.
    """
    configs = {name: load_model_config(name) for name in list_model_names()}
    models = {name: build_empty(config) for name, config in configs.items() if _same_patches(config, shapes)}
    fitting = [name for name, model in models.items() if not _differences(shapes, model)]
    return sorted(fitting, key=lambda name: -len(models[name].state_dict()))


def require_fit(shapes: Shapes, model: nn.Module, source: Path) -> None:
    """Raise InputError, naming what differs and the shipped models that would fit, unless the shapes fill `model`."""
    differences = _differences(shapes, model)
    if not differences:
        return
    fitting = fitting_models(shapes)
    lines = [f"{source}: these weights are not this model's", *differences.lines()]
    lines.append(
        f"  they fit {' and '.join(fitting)}" if fitting else "  they fit no model that comes with the program"
    )
    raise InputError("\n".join(lines))


@dataclass(frozen=True)
class _Differences:
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unknown or self.shapes)

    def lines(self) -> list[str]:
        found = {
            "missing from the file": self.missing,
            "not in the model": self.unknown,
            "of another shape": self.shapes,
        }
        return [f"  {len(keys)} {what}: {_some(keys)}" for what, keys in found.items() if keys]


def _differences(shapes: Shapes, model: nn.Module) -> _Differences:
    own = shapes_of(model.state_dict())
    extra = _UNUSED_BY_CAP if isinstance(model.config, CapConfig) else ()
    return _Differences(
        missing=sorted(own.keys() - shapes.keys()),
        unknown=sorted(key for key in shapes.keys() - own.keys() if not _left_out(key) and key not in extra),
        shapes=[
            f"{key} is {tuple(shapes[key])}, the model has {tuple(own[key])}"
            for key in sorted(own.keys() & shapes.keys())
            if shapes[key] != own[key]
        ],
    )


def _left_out(key: str) -> bool:
    return key in _NO_WEIGHTS or key.rpartition(".")[2] == _MASK


def _same_patches(config: ModelConfig, shapes: Shapes) -> bool:
    """Whether a model is worth building: few share the patches' shape."""
    vision = config.vision_cfg
    if isinstance(vision, TimmConfig):
        return any(key.startswith("visual.trunk.") for key in shapes)
    return shapes.get(_CONV) == (vision.width, 3, vision.patch_size, vision.patch_size)


def _some(keys: list[str]) -> str:
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
