"""Reading sharded checkpoints (torch.distributed.checkpoint), each process what it needs, without a word to others.

The format's index is a pickle, which torch loads without a second look, and it may say that a value is one. Here it is
read by an unpickler that knows nothing but what such an index is made of, and only tensors are read after it: a
checkpoint from elsewhere cannot bring code along.
"""

import io
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint import DefaultLoadPlanner, FileSystemReader
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import ReadItem

from mammut_clip.config.errors import InputError
from mammut_clip.models.exchange.fit import Shapes, require_fit

MODEL = "model"
"""What names of the model's tensors begin with, before a dot."""
_INDEX_PARTS = ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")
_OTHER_PARTS = (("pathlib", "PosixPath"), ("pathlib", "WindowsPath"), ("torch.serialization", "_get_layout"))


class UnreadableError(InputError):
    """Files of a sharded checkpoint are missing, cut off or damaged."""


def read_sharded(model: nn.Module, folder: Path) -> None:
    """Load the parameters of a torch.distributed.checkpoint folder into `model` (whole, on its device).

    Raises InputError where the folder holds no complete checkpoint or one of another architecture.
    """
    checkpoint = open_complete(folder)
    require_fit(checkpoint.shapes_of(MODEL), model, folder)
    state = model.state_dict()
    checkpoint.read({MODEL: state})
    model.load_state_dict(state)


def sharded_shapes(folder: Path) -> Shapes:
    """Names and shapes of the model's tensors in such a folder. Raises InputError where it is not complete."""
    return open_complete(folder).shapes_of(MODEL)


def open_complete(folder: Path) -> "Sharded":
    """As open_sharded. Raises InputError where the folder has no marker, or its index cannot be read."""
    if not (folder / "complete").is_file():
        raise InputError(f"{folder}: not a complete checkpoint (it has no marker file `complete`)")
    return open_sharded(folder)


def open_sharded(folder: Path) -> "Sharded":
    """The checkpoint in a folder, marked complete or not. Raises UnreadableError where its index cannot be read."""
    try:
        with (folder / ".metadata").open("rb") as file:
            index = _IndexUnpickler(file).load()
        shapes = {
            key: entry.size
            for key, entry in index.state_dict_metadata.items()
            if isinstance(entry, TensorStorageMetadata)
        }
    except Exception as error:  # damaged pickles raise whatever they stumble over
        raise UnreadableError(f"{folder}: this checkpoint's index cannot be read ({error})") from error
    return Sharded(folder, index, shapes)


@dataclass(frozen=True)
class Sharded:
    """A sharded checkpoint whose index has been read."""

    folder: Path
    index: Metadata
    shapes: dict[str, torch.Size]
    """Names of all tensors in it, such as model.visual.proj, and their whole shapes."""

    def shapes_of(self, part: str) -> dict[str, torch.Size]:
        """The tensors whose names begin with `part` and a dot, under the rest of their names."""
        prefix = f"{part}."
        return {key.removeprefix(prefix): size for key, size in self.shapes.items() if key.startswith(prefix)}

    def read(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Fill tensors, by part and name, in place; of a DTensor the shard that this process holds.

        Raises UnreadableError where one is not there or cannot be read; some may have been filled by then.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # no process group takes part: that is meant
                dcp.load(
                    {part: dict(tensors) for part, tensors in state.items() if tensors},
                    storage_reader=_Reader(self.folder, self.index),
                    planner=_TensorsOnly(),
                    no_dist=True,
                )
        except (Exception, CheckpointException) as error:  # the latter is no Exception
            raise UnreadableError(f"{self.folder}: this checkpoint cannot be read ({_reason(error)})") from error


class _Reader(FileSystemReader):
    """Reads the files that an index which has been checked speaks of."""

    def __init__(self, folder: Path, index: Metadata) -> None:
        super().__init__(folder)
        self._index = index

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        return self._index


class _TensorsOnly(DefaultLoadPlanner):
    """Everything that is no tensor is a pickle, and is not read."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        raise pickle.UnpicklingError(f"{read_item.storage_index.fqn} is no tensor")


def _reason(error: BaseException) -> str:
    """What PyTorch wraps with the tracebacks of all processes, in one line."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


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
