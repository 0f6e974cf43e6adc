"""Weights to and from published checkpoints: open_clip's CLIP and LAION's MaMMUT.

    published                                     here
    logit_scale of shape []                       logit_scale of shape [1] (FSDP2 refuses 0-dim parameters)
    module. or _orig_mod. before keys             neither (left behind by DDP and torch.compile)
    text.lm_head (open_clip 4)                    text.text_projection (LAION's MaMMUT, and what is written)

Files are safetensors, or torch files that need no more than tensors and plain containers to be read. A file
that would run code on loading (a full pickle) is refused.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mammut_clip.config.errors import InputError

_WRAPPERS = ("module.", "_orig_mod.")
_HEAD, _NEWER_HEAD = "text.text_projection", "text.lm_head"
_SHOWN = 6


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of ours as open_clip (CLIP) or LAION's code (MaMMUT) names and shapes it."""
    plain = {_bare(key): tensor for key, tensor in state.items()}
    return {key: tensor.reshape(()) if key == "logit_scale" else tensor for key, tensor in plain.items()}


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict as our models name and shape it."""
    plain = {_bare(key): tensor for key, tensor in state.items()}
    if _NEWER_HEAD in plain and _HEAD not in plain:
        plain[_HEAD] = plain.pop(_NEWER_HEAD)
    return {key: tensor.reshape(1) if key == "logit_scale" else tensor for key, tensor in plain.items()}


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Fill `model` from a published or exported checkpoint.

    Raises InputError where the file cannot be read safely, or names and shapes differ from the model's: it
    then says which, and the model is left as it was.
    """
    path = Path(path)
    state = from_published(read_state_dict(path))
    own = model.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{key} is {tuple(state[key].shape)}, the model has {tuple(own[key].shape)}"
        for key in sorted(own.keys() & state.keys())
        if state[key].shape != own[key].shape
    ]
    differences = {
        "missing from the file": missing,
        "not in the model": unknown,
        "of another shape": shapes,
    }
    if any(differences.values()):
        lines = [f"{path}: these weights are not this model's"]
        lines += [f"  {len(keys)} {what}: {_some(keys)}" for what, keys in differences.items() if keys]
        raise InputError("\n".join(lines))
    model.load_state_dict(state)


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write the model's weights as safetensors under the published names."""
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in to_published(model.state_dict()).items()}
    try:
        save_file(state, path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: weights could not be written ({error})") from error


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, under the names that stand there.

    A training checkpoint of open_clip holds them under `state_dict`, beside the optimizer's. Raises
    InputError.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a checkpoint (.safetensors, .pt, .pth or .bin)")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    named = isinstance(content, Mapping) and all(isinstance(value, Tensor) for value in content.values())
    if not named or not content:
        raise InputError(f"{path}: expected a state dict (names to tensors), alone or as `state_dict`")
    return dict(content)


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch wraps the reason in advice on how to read the file unsafely; the plain reason is the context
        reason = str(error.__context__ or error).partition(" was not an allowed")[0]
        raise InputError(
            f"{path}: not read: {reason}. Either this is no torch file, or it needs a full pickle, which can "
            "run any code on loading; convert it where it is trusted, to safetensors or a plain state dict"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: not a readable torch file ({reason})") from error


def _bare(key: str) -> str:
    """The key without what wrappers put before it, in whatever order they were stacked."""
    while key.startswith(_WRAPPERS):
        key = key.removeprefix(_WRAPPERS[0]).removeprefix(_WRAPPERS[1])
    return key.replace("._orig_mod.", ".")


def _some(keys: list[str]) -> str:
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
