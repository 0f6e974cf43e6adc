"""The copy of the state that is written while training goes on, in memory that is kept from one checkpoint to the next.

A rank copies what it will write and no more. Of tensors that several ranks hold alike (all of them under DDP, the
copies of a shard under HSDP) each takes a share; torch.distributed.checkpoint would take all and then drop the rest.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from mammut_clip.distributed import Process
from mammut_clip.models.sharded import MODEL
from mammut_clip.train.checkpoint.state import State


@dataclass(frozen=True)
class Staged:
    """A copy that is being made."""

    state: State
    """Tensors in the CPU's memory, sharded as the originals are. Not to be read before `wait`."""
    _copied: torch.cuda.Event | None

    def wait(self) -> None:
        """Return when the copy is whole; from any thread."""
        if self._copied is not None:
            self._copied.synchronize()


class Staging:
    """This rank's memory for copies: one at a time."""

    def __init__(self, process: Process, of_main: Collection[str] = ()) -> None:
        """`of_main`: names of the model's tensors that may differ between ranks; rank 0's are the ones that count."""
        self._process, self._of_main = process, frozenset(of_main)
        self._on_gpu = process.device.type == "cuda"
        self._buffers: dict[tuple[str, str], Tensor] = {}

    def copy(self, state: State) -> Staged:
        """This rank's share of the state, as it stands now. On a GPU the copying is put in the device's queue, before
        the next step: the caller need not wait for it."""
        own = _own_share(state, self._of_main, self._process)
        with torch.no_grad():
            copies: State = {}
            for part, name in own:
                copies.setdefault(part, {})[name] = self._copy((part, name), state[part][name])
        copied = None
        if self._on_gpu:
            copied = torch.cuda.Event(blocking=True)  # who waits for it sleeps
            copied.record()
        return Staged(copies, copied)

    def _copy(self, key: tuple[str, str], tensor: Tensor) -> Tensor:
        buffer = self._buffers.get(key)
        if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
            buffer = torch.empty_like(tensor, device="cpu", pin_memory=self._on_gpu, requires_grad=False)
            self._buffers[key] = buffer
        _local(buffer).copy_(_local(tensor), non_blocking=self._on_gpu)
        return buffer


def _own_share(state: State, of_main: Collection[str], process: Process) -> list[tuple[str, str]]:
    """The entries that this rank writes; every rank finds the same shares.

    All entries of which there are so many equal copies stand in a row, and each of their holders takes those that begin
    in its part of the bytes.
    """
    held = [(part, name, _holders(tensor, process), _bytes(tensor)) for part, name, tensor in _in_order(state)]
    totals: dict[int, int] = {}
    for _, _, (copies, _), size in held:
        totals[copies] = totals.get(copies, 0) + size
    own: list[tuple[str, str]] = []
    passed = dict.fromkeys(totals, 0)
    for part, name, (copies, mine), size in held:
        owner = passed[copies] * copies // max(1, totals[copies])
        passed[copies] += size
        if part == MODEL and name in of_main:
            owner = 0
        if owner == mine:
            own.append((part, name))
    return own


def _in_order(state: State) -> Iterator[tuple[str, str, Tensor]]:
    for part in sorted(state):
        for name in sorted(state[part]):
            yield part, name, state[part][name]


def _holders(tensor: Tensor, process: Process) -> tuple[int, int]:
    """(how many ranks hold what this one holds of a tensor, this rank's number among them)."""
    if not isinstance(tensor, DTensor):
        return process.world_size, process.rank
    place = tensor.device_mesh.get_coordinate()
    assert place is not None
    copies, mine = 1, 0
    for dimension, placement in enumerate(tensor.placements):
        if placement.is_replicate():
            size = tensor.device_mesh.size(dimension)
            copies, mine = copies * size, mine * size + place[dimension]
    return copies, mine


def _bytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * tensor.dtype.itemsize


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
