"""Rank facts, found in one place: torchrun's environment, srun's, or one plain process."""

import gc
import os
import subprocess
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from mammut_clip.config.errors import InputError


@dataclass(frozen=True)
class Process:
    """Who this process is among those of the job."""

    rank: int
    world_size: int
    local_rank: int
    device: torch.device
    local_world_size: int = 1
    """Processes of the job on this machine."""

    @property
    def is_main(self) -> bool:
        """Rank 0 writes the records that exist once per run."""
        return self.rank == 0

    def wait_for_all(self) -> None:
        """Return when every process of the job has come here."""
        if self.world_size > 1:
            dist.barrier()


def start_process(device: str | None = None) -> Process:
    """Join the job this process was started in; a process group exists where there are several processes.

    `device` is `cpu` or `cuda`; None takes a GPU where there is one. Raises InputError where the environment
    says there are several processes but not where they meet.
    """
    rank, world_size, local_rank = _ranks()
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but PyTorch sees no CUDA device on this machine")
    where = torch.device(kind, local_rank % torch.cuda.device_count()) if kind == "cuda" else torch.device("cpu")
    if where.type == "cuda":
        torch.cuda.set_device(where)
    if world_size > 1 and not dist.is_initialized():
        _set_meeting_point()
        backend = "nccl" if where.type == "cuda" else "gloo"
        dist.init_process_group(backend, rank=rank, world_size=world_size, timeout=timedelta(minutes=10))
    return Process(rank, world_size, local_rank, where)


def stop_process() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        gc.collect()  # sharded models keep groups alive in cycles; groups that outlive this abort the process at exit
        dist.destroy_process_group()


def _ranks() -> tuple[int, int, int]:
    """(rank, world size, local rank) from torchrun, else from srun, else of one plain process."""
    env = os.environ
    if "RANK" in env and "WORLD_SIZE" in env:
        return int(env["RANK"]), int(env["WORLD_SIZE"]), int(env.get("LOCAL_RANK", 0))
    if "SLURM_PROCID" in env and int(env.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return int(env["SLURM_PROCID"]), int(env["SLURM_STEP_NUM_TASKS"]), int(env.get("SLURM_LOCALID", 0))
    return 0, 1, 0


def _set_meeting_point() -> None:
    """MASTER_ADDR and MASTER_PORT; under srun the step's first node, and a port from the job id."""
    env = os.environ
    if "MASTER_ADDR" in env and "MASTER_PORT" in env:
        return
    if "SLURM_JOB_ID" not in env:
        raise InputError("RANK and WORLD_SIZE are set, MASTER_ADDR or MASTER_PORT is not: start with torchrun")
    if "MASTER_ADDR" not in env:
        command = ["scontrol", "show", "hostnames", env["SLURM_STEP_NODELIST"]]
        env["MASTER_ADDR"] = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
    # A fixed port would collide where two jobs share a node.
    env.setdefault("MASTER_PORT", str(20_000 + int(env["SLURM_JOB_ID"]) % 20_000))
