"""The few collectives that the training mathematics needs; each does nothing in a program of one process.

Every rank of a group must call them in the same order with tensors of the same shape. W is the group's world
size.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def _running() -> bool:
    return dist.is_available() and dist.is_initialized()


def group_rank(group: dist.ProcessGroup | None = None) -> int:
    """This process's rank in the group; 0 without torch.distributed."""
    return dist.get_rank(group) if _running() else 0


def group_size(group: dist.ProcessGroup | None = None) -> int:
    """The number of processes in the group; 1 without torch.distributed."""
    return dist.get_world_size(group) if _running() else 1


def all_gather_with_grad(tensor: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Local rows [B, E] -> the rows of all ranks [W * B, E], in the order of ranks.

    The gradient is the sum over ranks of what each rank's loss says of this rank's rows. torch's own
    all_gather has none, without any error: rows of other ranks would count as constants and the gradient of
    the loss would be wrong.
    """
    if group_size(group) == 1:
        return tensor
    gathered: Tensor = _AllGather.apply(tensor, group)
    return gathered


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        gathered = tensor.new_empty(group_size(group) * tensor.shape[0], *tensor.shape[1:])
        dist.all_gather_into_tensor(gathered, tensor.contiguous(), group=group)
        return gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        size = group_size(ctx.group)
        local = gradient.new_empty(gradient.shape[0] // size, *gradient.shape[1:])
        dist.reduce_scatter_tensor(local, gradient.contiguous(), op=dist.ReduceOp.SUM, group=ctx.group)
        return local, None


def all_reduce_sum(tensor: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """The sum over ranks of plain numbers (counts, losses to log), without gradient; `tensor` is kept."""
    total = tensor.detach().clone()
    if group_size(group) > 1:
        dist.all_reduce(total, op=dist.ReduceOp.SUM, group=group)
    return total
