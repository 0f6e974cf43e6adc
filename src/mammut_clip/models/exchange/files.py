"""Reading checkpoint files: safetensors, or torch files that hold tensors and plain containers only.

A path goes in, the tensors under the names that stand in the file come out. A file that would run code on loading (a
full pickle, a TorchScript archive) is refused.
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mammut_clip.config.errors import InputError

WEIGHTS_NAME = "open_clip_model.safetensors"
"""What open_clip calls the weights in a folder of a model."""
_IN_FOLDERS = (
    WEIGHTS_NAME,
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
_SHOWN_KEYS = 8


def weights_in(folder: Path) -> Path | None:
    """The file of weights in a folder as open_clip and the hub lay it out; None where there is none."""
    return next((folder / name for name in _IN_FOLDERS if (folder / name).is_file()), None)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, or of the file of weights in a folder, under the names that stand there.

    A training checkpoint of open_clip holds them under `state_dict`, beside the optimizer's. Torch files are mapped
    into memory, so that what nobody uses is never read. Raises InputError.
    """
    file = weights_in(path) if path.is_dir() else path
    if file is None:
        raise InputError(f"{path}: a folder without weights; expected one of {', '.join(_IN_FOLDERS)} in it")
    if not file.is_file():
        raise InputError(f"{file}: no such file; expected a checkpoint (.safetensors, .pt, .pth or .bin)")
    content = _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    named = isinstance(content, Mapping) and all(isinstance(value, Tensor) for value in content.values())
    if not named or not content:
        raise InputError(
            f"{file}: expected a state dict (names to tensors), alone or as `state_dict`; found {_described(content)}"
        )
    return dict(content)


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error


def _read_torch(path: Path) -> Any:
    archive = zipfile.is_zipfile(path)  # the older format cannot be mapped
    if archive and _is_torchscript(path):
        raise InputError(
            f"{path}: not read: a TorchScript archive, which carries code. Where it is trusted, save its state "
            "dict: torch.save(torch.jit.load(FILE, map_location='cpu').state_dict(), 'weights.pt')"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as error:
        # torch wraps the reason in advice on how to read the file unsafely; the plain reason is the context
        reason = str(error.__context__ or error).partition(" was not an allowed")[0]
        raise InputError(
            f"{path}: not read: {reason}. Either this is no torch file, or it needs a full pickle, which can "
            "run any code on loading. Where it is trusted, save its tensors alone: "
            "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'weights.pt')"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: not a readable torch file ({reason})") from error


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _described(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    keys = ", ".join(str(key) for key in list(content)[:_SHOWN_KEYS])
    return f"a mapping with the keys {keys}" if content else "an empty mapping"
