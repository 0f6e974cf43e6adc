"""Real processes on gloo, started once for many checks: each gives back a dictionary of tensors."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from ports import reserved_port

Results = dict[str, Tensor]


def forking() -> ForkServerContext:
    """Processes forked from a server that has loaded torch and the trainer, once for all tests: each would take seconds
    for it. They have the environment that the first of all was started with."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mammut_clip.train.trainer", "timm.optim", "torch._dynamo"])
    return context


def run_processes(main: Callable[[int], Results], world: int, folder: Path) -> list[Results]:
    """What `main(rank)` returns in each of `world` processes that form the default group; raises where one raises."""
    forking()
    with reserved_port() as port:
        given = (main, world, port, str(folder), dict(os.environ))
        mp.start_processes(_rank_main, given, world, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)]


def _rank_main(
    rank: int, main: Callable[[int], Results], world: int, port: int, folder: str, environment: dict[str, str]
) -> None:
    os.environ.clear()
    os.environ |= environment
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(world)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.save(main(rank), Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
