"""Who this process is among those of the job: torchrun's variables, srun's, or one plain process.

torchrun (and most other launchers) set RANK and WORLD_SIZE. srun sets SLURM_PROCID and variables of the step; those of
the job alone, which a batch script sees too, say nothing about processes. A step of one task is a plain process.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mammut_clip.config.errors import InputError


@dataclass(frozen=True)
class Ranks:
    """Places of one process; all count from 0."""

    rank: int
    world_size: int
    local_rank: int
    """Place among the processes of the job on this machine."""
    local_world_size: int
    """How many those are."""


def find_ranks(environment: Mapping[str, str]) -> Ranks | None:
    """The places that a launcher gave this process; None for one plain process.

    Raises InputError where the variables are incomplete or contradict each other.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return _checked(_from_torchrun(environment), "RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE")
    if is_slurm_step(environment):
        return _checked(_from_srun(environment), "SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID")
    if "RANK" in environment or integer(environment, "WORLD_SIZE", 1) > 1:
        raise InputError(
            "of the variables RANK and WORLD_SIZE only one is set: expected both (start with torchrun), or neither"
        )
    return None


def is_slurm_step(environment: Mapping[str, str]) -> bool:
    """Whether this is a task of a Slurm step of several tasks."""
    return "SLURM_PROCID" in environment and integer(environment, "SLURM_STEP_NUM_TASKS", 1) > 1


def integer(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    """The variable as a number; InputError where it is none, or missing without a default."""
    text = environment.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.strip().isdigit():
        raise InputError(
            f"environment variable {name} = {text!r}: expected a number; start with torchrun, srun or as one process"
        )
    return int(text)


def _from_torchrun(environment: Mapping[str, str]) -> Ranks:
    rank, world_size = integer(environment, "RANK"), integer(environment, "WORLD_SIZE")
    if "LOCAL_RANK" not in environment and is_slurm_step(environment):  # a script that passes srun's ranks on
        step = _from_srun(environment)
        if (step.rank, step.world_size) == (rank, world_size):
            return step
    # Launchers that start one process on each machine do not number those of a machine.
    local_rank = integer(environment, "LOCAL_RANK", 0)
    return Ranks(rank, world_size, local_rank, integer(environment, "LOCAL_WORLD_SIZE", local_rank + 1))


def _from_srun(environment: Mapping[str, str]) -> Ranks:
    tasks = tasks_per_node(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    node = integer(environment, "SLURM_NODEID")
    if node >= len(tasks):
        raise InputError(
            f"SLURM_NODEID = {node}, but SLURM_STEP_TASKS_PER_NODE = "
            f"{environment.get('SLURM_STEP_TASKS_PER_NODE')!r} counts the tasks of {len(tasks)} node(s)"
        )
    return Ranks(
        integer(environment, "SLURM_PROCID"),
        integer(environment, "SLURM_STEP_NUM_TASKS"),
        integer(environment, "SLURM_LOCALID"),
        tasks[node],
    )


def tasks_per_node(text: str) -> list[int]:
    """Slurm's `4(x2),3` as [4, 4, 3]. Raises InputError for anything else."""
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if found is None:
            raise InputError(
                f"SLURM_STEP_TASKS_PER_NODE = {text!r}: expected numbers of tasks, such as 4(x2),3; start with srun"
            )
        counts += [int(found[1])] * int(found[2] or 1)
    return counts


def _checked(ranks: Ranks, variables: str) -> Ranks:
    if ranks.rank < ranks.world_size and ranks.local_rank < ranks.local_world_size <= ranks.world_size:
        return ranks
    raise InputError(
        f"the variables {variables} contradict each other: rank {ranks.rank} of {ranks.world_size}, "
        f"on this machine {ranks.local_rank} of {ranks.local_world_size}"
    )
