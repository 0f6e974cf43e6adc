"""Real processes on gloo, started once for many checks: each gives back a dictionary of tensors."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

Results = dict[str, Tensor]


def run_processes(main: Callable[[int], Results], world: int, folder: Path) -> list[Results]:
    """What `main(rank)` returns in each of `world` processes that form the default group; raises where one raises."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(_rank_main, (main, world, port, str(folder)), nprocs=world)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)]


def _rank_main(rank: int, main: Callable[[int], Results], world: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(world)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.save(main(rank), Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
