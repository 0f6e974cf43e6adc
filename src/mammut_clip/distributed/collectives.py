"""The few collectives that the training mathematics needs; each does nothing in a program of one process.

None carries gradients: losses that need other ranks' rows work out their own. Every rank of a group must call them in
the same order with tensors of the same shape and type. W is the group's world size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from mammut_clip.config.errors import InputError

T = TypeVar("T")


def _running() -> bool:
    return dist.is_available() and dist.is_initialized()


def group_rank(group: dist.ProcessGroup | None = None) -> int:
    """This process's rank in the group; 0 without torch.distributed."""
    return dist.get_rank(group) if _running() else 0


def group_size(group: dist.ProcessGroup | None = None) -> int:
    """The number of processes in the group; 1 without torch.distributed."""
    return dist.get_world_size(group) if _running() else 1


def all_gather_rows(tensor: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Local rows [B, ...] -> the rows of all ranks [W * B, ...], in the order of ranks, without gradient."""
    tensor = tensor.detach()
    if group_size(group) == 1:
        return tensor
    gathered = tensor.new_empty(group_size(group) * tensor.shape[0], *tensor.shape[1:])
    dist.all_gather_into_tensor(gathered, tensor.contiguous(), group=group)
    return gathered


def all_reduce_sum(tensor: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """The sum over ranks of plain numbers (counts, losses to log), without gradient; `tensor` is kept."""
    total = tensor.detach().clone()
    if group_size(group) > 1:
        dist.all_reduce(total, op=dist.ReduceOp.SUM, group=group)
    return total


def from_main(value: T | None, group: dist.ProcessGroup | None = None) -> T:
    """Rank 0's `value`, which can be any object that can be pickled, on every rank; the others give None."""
    held = [value]
    if group_size(group) > 1:
        dist.broadcast_object_list(held, group_src=0, group=group)
    assert held[0] is not None
    return held[0]


def on_main(work: Callable[[], T], group: dist.ProcessGroup | None = None) -> T:
    """What `work()` gives, which rank 0 alone does, on every rank; its InputError is raised on every rank."""
    value: T | None = None
    error: InputError | None = None
    if group_rank(group) == 0:
        try:
            value = work()
        except InputError as raised:
            error = raised
    message = [value, None if error is None else str(error)]
    if group_size(group) > 1:
        dist.broadcast_object_list(message, group_src=0, group=group)
    if error is not None:
        raise error
    if message[1] is not None:
        raise InputError(str(message[1]))
    return cast(T, message[0])


def on_every(work: Callable[[], T], group: dist.ProcessGroup | None = None) -> T:
    """What `work()` gives on this rank, where it succeeds on all; else the first rank's InputError, on every rank."""
    value: T | None = None
    error: InputError | None = None
    try:
        value = work()
    except InputError as raised:
        error = raised
    met: list[str | None] = [None if error is None else str(error)]
    if group_size(group) > 1:
        met *= group_size(group)
        dist.all_gather_object(met, None if error is None else str(error), group=group)
    if error is not None:
        raise error
    for message in met:
        if message is not None:
            raise InputError(message)
    return cast(T, value)


@dataclass(frozen=True)
class Arrival:
    """A tensor that is on its way from the previous rank, while this rank's own goes to the next one."""

    _received: Tensor
    _sent: Tensor  # kept until it has left
    _under_way: list[dist.Work]

    def wait(self) -> Tensor:
        """The previous rank's tensor, once it is here and this rank's has left."""
        for work in self._under_way:
            work.wait()
        return self._received


def pass_on(tensor: Tensor, group: dist.ProcessGroup | None = None, tag: int = 0) -> Arrival:
    """Start to send `tensor` to the next rank and to receive the previous rank's, round the ring of the group.

    Neither `tensor` may be changed nor the arrival read before `wait`. Passes of the same tag arrive in the order they
    were started in.
    """
    tensor = tensor.detach().contiguous()
    size, rank = group_size(group), group_rank(group)
    if size == 1:
        return Arrival(tensor, tensor, [])
    whole = group or dist.group.WORLD
    assert whole is not None
    following = dist.get_global_rank(whole, (rank + 1) % size)
    previous = dist.get_global_rank(whole, (rank - 1) % size)
    received = torch.empty_like(tensor)
    operations = [
        dist.P2POp(dist.isend, tensor, following, group, tag),
        dist.P2POp(dist.irecv, received, previous, group, tag),
    ]
    return Arrival(received, tensor, dist.batch_isend_irecv(operations))
