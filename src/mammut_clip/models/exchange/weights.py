"""Weights from a published checkpoint into a model, and out of a model into a file that others read."""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from mammut_clip.config.atomic import scratch_folder
from mammut_clip.config.errors import InputError
from mammut_clip.models.exchange.files import read_state_dict
from mammut_clip.models.exchange.fit import require_fit, shapes_of
from mammut_clip.models.exchange.names import from_published, to_published

TORCH_SUFFIXES = (".pt", ".pth", ".bin")
WEIGHT_SUFFIXES = (".safetensors", *TORCH_SUFFIXES)
"""How names of files of weights end."""
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Fill `model` from a published or exported checkpoint: a file, or a folder that holds one (see files.py).

    Half precision is cast to the model's own. Raises InputError where the file cannot be read safely, or names,
    shapes or types differ from the model's: it then says which, and the model is left as it was.
    """
    path = Path(path)
    state = read_published(path)
    require_fit(shapes_of(state), model, path)
    own = model.state_dict()
    for key, tensor in own.items():
        if tensor.is_floating_point() and state[key].dtype not in _FLOATS:
            raise InputError(f"{path}: {key} is of type {state[key].dtype}; expected float32, bfloat16 or float16")
    model.load_state_dict({key: state[key] for key in own})


def read_published(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file or folder, under our names. Raises InputError where it cannot be read."""
    state = read_state_dict(path)
    try:
        return from_published(state)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write the model's weights under the published names, whole or not at all.

    A name that ends in .pt, .pth or .bin gets a torch file {"state_dict": ...}, any other safetensors. Raises
    InputError where the file cannot be written.
    """
    path = Path(path)
    state = to_published({key: tensor.detach().cpu() for key, tensor in model.state_dict().items()})
    with scratch_folder(path) as folder:
        file = folder / path.name
        if path.suffix in TORCH_SUFFIXES:
            torch.save({"state_dict": state}, file)
        else:
            _save_safetensors(state, file, path)
        with file.open("rb") as written:
            os.fsync(written.fileno())
        file.replace(path)


def _save_safetensors(state: dict[str, Tensor], file: Path, path: Path) -> None:
    places: set[int] = set()
    for key, tensor in state.items():
        # safetensors writes no memory twice, but towers of transformers may tie weights under two names
        state[key] = tensor.clone() if tensor.data_ptr() in places else tensor.contiguous()
        places.add(tensor.data_ptr())
    try:
        save_file(state, file, metadata={"format": "pt"})
    except SafetensorError as error:
        raise InputError(f"{path}: weights could not be written ({error})") from error
