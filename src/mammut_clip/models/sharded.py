"""Reading the model out of a run's sharded checkpoint, in one process and without its optimiser state.

The format's index is a pickle, which torch loads without a second look. It is read here first, by an unpickler that
knows nothing but what such an index is made of: a checkpoint from elsewhere cannot bring code along.
"""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from mammut_clip.config.errors import InputError
from mammut_clip.models.exchange.fit import Shapes, require_fit

_MODEL = "model"
_INDEX_PARTS = ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")
_OTHER_PARTS = (("pathlib", "PosixPath"), ("pathlib", "WindowsPath"), ("torch.serialization", "_get_layout"))


def read_sharded(model: nn.Module, folder: Path) -> None:
    """Load the parameters of a torch.distributed.checkpoint folder into `model` (whole, on its device).

    Raises InputError where the folder holds no complete checkpoint or one of another architecture.
    """
    require_fit(sharded_shapes(folder), model, folder)
    state = {_MODEL: model.state_dict()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dcp.load(state, checkpoint_id=folder, no_dist=True)
    except (Exception, CheckpointException) as error:  # the latter is no Exception
        raise InputError(f"{folder}: this checkpoint cannot be read ({error})") from error
    model.load_state_dict(state[_MODEL])


def sharded_shapes(folder: Path) -> Shapes:
    """Names and shapes of the model's tensors in such a folder. Raises InputError where it is not complete."""
    if not (folder / "complete").is_file():
        raise InputError(f"{folder}: not a complete checkpoint (it has no marker file `complete`)")
    try:
        with (folder / ".metadata").open("rb") as file:
            index = _IndexUnpickler(file).load()
        entries = index.state_dict_metadata
    except Exception as error:  # damaged pickles raise whatever they stumble over
        raise InputError(f"{folder}: this checkpoint's index cannot be read ({error})") from error
    prefix = f"{_MODEL}."
    return {
        key.removeprefix(prefix): entry.size
        for key, entry in entries.items()
        if key.startswith(prefix) and isinstance(entry, TensorStorageMetadata)
    }


class _IndexUnpickler(pickle.Unpickler):
    """Makes a Metadata, and nothing that is not part of one."""

    def load(self) -> Metadata:
        index = super().load()
        if not isinstance(index, Metadata):
            raise pickle.UnpicklingError(f"a {type(index).__name__}, not an index")
        return index

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch":
            found = getattr(torch, name, None)
            if found is torch.Size or isinstance(found, torch.dtype):
                return found
        elif (module, name) in _OTHER_PARTS:
            return super().find_class(module, name)
        elif module in _INDEX_PARTS and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:  # defined there, not merely imported
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an index")
