"""How a process joins the others of its job, and leaves them."""

import faulthandler
import gc
import logging
import os
import sys
import threading
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from mammut_clip.config.errors import InputError
from mammut_clip.distributed.meeting import meeting_point
from mammut_clip.distributed.ranks import Ranks, find_ranks

_PATIENCE = timedelta(minutes=30)
"""How long a collective waits for the others. Start-up may be long on one of them (first index of the data, weights
from a hub); in training the watchdog of the trainer ends a job that hangs long before."""

_LEAVE_SECONDS, _FLEE_SECONDS = 120.0, 15.0
"""How long the others are waited for at the end, and after an error, when some may be gone or hang."""
_EXIT_SECONDS = 30.0
"""How long a process that could not leave its group may take to end by itself."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Process:
    """Who this process is among those of the job."""

    rank: int
    world_size: int
    local_rank: int
    device: torch.device
    local_world_size: int = 1
    """Processes of the job on this machine; other machines may have more or fewer."""

    @property
    def is_main(self) -> bool:
        """Rank 0 writes the records that exist once per run."""
        return self.rank == 0

    def wait_for_all(self) -> None:
        """Return when every process of the job has come here; what GPUs still compute is not waited for."""
        if self.world_size > 1:
            dist.all_reduce(torch.zeros(1))


def start_process(device: str | None = None) -> Process:
    """Join the job this process was started in; alone, without a process group, where no launcher gave it a rank.

    `device` is `cpu` or `cuda`; None takes a GPU where there is one. CPU tensors go over gloo, also on GPUs:
    asynchronous checkpoints and parameters kept in the CPU's memory need that. Raises InputError where the environment
    says that there are several processes but not who and where they are.
    """
    found = find_ranks(os.environ)
    ranks = found or Ranks(rank=0, world_size=1, local_rank=0, local_world_size=1)
    where = _take_device(device, ranks)
    if found is not None and not dist.is_initialized():
        os.environ |= meeting_point(os.environ)
        on_gpu = where.type == "cuda"
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            rank=ranks.rank,
            world_size=ranks.world_size,
            timeout=_PATIENCE,
            device_id=where if on_gpu else None,
        )
    return Process(ranks.rank, ranks.world_size, ranks.local_rank, where, ranks.local_world_size)


def _take_device(kind: str | None, ranks: Ranks) -> torch.device:
    has_gpu = torch.cuda.is_available()
    if kind == "cuda" and not has_gpu:
        raise InputError("device cuda was asked for, but PyTorch sees no CUDA device on this machine")
    if kind == "cpu" or not has_gpu:
        return torch.device("cpu")
    device = torch.device("cuda", gpu_index(ranks.local_rank, torch.cuda.device_count()))
    torch.cuda.set_device(device)
    torch.cuda.init()  # or device meshes would choose a device themselves
    return device


def gpu_index(local_rank: int, visible: int) -> int:
    """Which of the `visible` GPUs a process takes: the only one (srun --gpus-per-task=1), or that of its local rank."""
    if visible > 1 and local_rank >= visible:
        raise InputError(
            f"local rank {local_rank} on a machine with {visible} visible GPUs: expected one process per GPU at most"
        )
    return 0 if visible == 1 else local_rank


def stop_process() -> None:
    """Leave the process group, if there is one; the others are waited for, but not for ever.

    Where a collective still waits for a process that hangs or has lost its network, leaving would take as long. Then
    the group is left as it is, and what ends this process goes on: an error under way reaches the user.
    """
    if not dist.is_initialized():
        return
    gc.collect()  # sharded models keep groups alive in cycles; groups that outlive this abort the process at exit
    gpu = torch.cuda.current_device() if torch.cuda.is_initialized() else None
    leaving = threading.Thread(target=_leave, args=(gpu,), daemon=True)
    leaving.start()
    limit = _LEAVE_SECONDS if sys.exc_info()[0] is None else _FLEE_SECONDS
    leaving.join(limit)
    if leaving.is_alive():
        _logger.error("after %.0f s other processes still hold this one in a collective: it ends without them", limit)
        faulthandler.dump_traceback_later(_EXIT_SECONDS, exit=True, file=2)


def _leave(gpu: int | None) -> None:
    if gpu is not None:
        torch.cuda.set_device(gpu)  # a new thread's is 0
    try:
        dist.destroy_process_group()
    except Exception as error:  # after another error, which matters more
        _logger.warning("leaving the process group: %s", error)
