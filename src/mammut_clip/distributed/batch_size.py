"""All ranks of a group bring batches of one size: agreed on once, then held without a word between them.

Where ranks bring different sizes, a collective over features hangs or mixes up rows. Asking everyone at every step
would cost a round trip and, on a GPU, a wait for all that was started before.
"""

from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist

from mammut_clip.distributed.collectives import all_gather_rows, group_rank, group_size

_AGREED: WeakKeyDictionary[dist.ProcessGroup, int] = WeakKeyDictionary()
"""By group, so that a destroyed group takes its agreement with it."""


def agree_batch_size(size: int, group: dist.ProcessGroup | None = None) -> None:
    """Make `size` the number of rows that each rank brings from now on; collective, called by all ranks of the group.

    Raises ValueError on every rank where the sizes differ; then nothing is agreed.
    """
    if group_size(group) == 1:
        return
    _AGREED.pop(_resolve(group), None)
    sizes: list[int] = all_gather_rows(torch.tensor([size], device=_device(group)), group).tolist()
    if len(set(sizes)) > 1:
        listed = ", ".join(f"rank {rank} has {rows}" for rank, rows in enumerate(sizes))
        raise ValueError(f"every rank must bring the same number of rows: {listed}")
    _AGREED[_resolve(group)] = size


def check_batch_size(size: int, group: dist.ProcessGroup | None = None) -> None:
    """Raise ValueError where `size` is not what the ranks of the group bring.

    The first call for a group is agree_batch_size. Later ones speak to nobody: a rank that comes with another size
    raises alone, since by then the others may be waiting for its rows.
    """
    if group_size(group) == 1:
        return
    agreed = _AGREED.get(_resolve(group))
    if agreed is None:
        agree_batch_size(size, group)
    elif size != agreed:
        raise ValueError(
            f"rank {group_rank(group)} has {size} rows where all ranks agreed on {agreed}; "
            "before the size changes, all of them must call agree_batch_size"
        )


def _resolve(group: dist.ProcessGroup | None) -> dist.ProcessGroup:
    whole = group or dist.group.WORLD
    assert whole is not None
    return whole


def _device(group: dist.ProcessGroup | None) -> torch.device:
    """Where the group's backend takes tensors from: the CPU if it can, else the current GPU."""
    backends = dist.get_backend_config(_resolve(group))  # such as "cpu:gloo,cuda:nccl"
    return torch.device("cpu") if "cpu:" in backends else torch.device("cuda", torch.cuda.current_device())
