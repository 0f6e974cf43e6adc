"""How a job starts on one cluster: the schema of slurm/*.yaml.

Every value is checked here and quoted where a shell will read it; `setup` alone is shell text, as it is meant to be.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from mammut_clip.config.base import Config
from mammut_clip.config.files import find_file
from mammut_clip.config.load import apply_overrides, read_mapping, validate

_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_OPTION = re.compile(r"^--?[A-Za-z][A-Za-z0-9-]*(=[A-Za-z0-9._@:/,%+\[\]=-]*)?$")
_WORD = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@:/,\[\]-]*$")


def _check_word(value: Any) -> Any:
    """Names that Slurm reads (accounts, partitions, node lists) are single words."""
    if isinstance(value, str) and not _WORD.match(value):
        raise ValueError("expected one word of letters, digits and . _ @ : / , [ ] -")
    return value


def _check_environment(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    for name, text in value.items():
        if not isinstance(name, str) or not _VARIABLE.match(name):
            raise ValueError(f"{name!r} is not a name of an environment variable (letters, digits and _)")
        if isinstance(text, dict | list) or text is None:
            raise ValueError(f"{name}: expected text or a number, found {text!r}")
        if "\n" in str(text) or "\0" in str(text):
            raise ValueError(f"{name}: a value of one line was expected, found {text!r}")
    return {name: str(text) for name, text in value.items()}


Word = Annotated[str, BeforeValidator(_check_word)]


def _check_option(value: Any) -> Any:
    """Options of srun and sbatch are one word each, which begins with dashes: `--cpu-bind=none`."""
    if isinstance(value, str) and not _OPTION.match(value):
        raise ValueError("expected one option, such as --cpu-bind=none, without blanks or quotes")
    return value


Option = Annotated[str, BeforeValidator(_check_option)]


class Limits(Config):
    """What a site allows, or what its users owe each other."""

    jobs: int | None = Field(None, ge=1)
    """Jobs of this user that may be in the queue, each element of an array counted; null for no limit."""
    running: int | None = Field(None, ge=1)
    """Jobs of one array that run at the same time; null for no limit."""
    array_size: int = Field(1000, ge=1)
    """Elements of one array at most (MaxArraySize of `scontrol show config`, less 1)."""
    submissions_per_minute: float = Field(30, gt=0)
    """Calls of sbatch at most."""


class ClusterConfig(Config):
    """One cluster, or this machine."""

    kind: Literal["local", "slurm"]
    """local: processes on this machine; slurm: jobs through sbatch."""
    account: Word | None = None
    """Whom the hours are charged to (sbatch --account)."""
    partition: Word | None = None
    """Where jobs run (sbatch --partition)."""
    qos: Word | None = None
    """Quality of service (sbatch --qos)."""
    reservation: Word | None = None
    """A reservation to run in (sbatch --reservation)."""
    constraint: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_.&|!*()\[\]-]+$")] = None
    """Features that nodes must have (sbatch --constraint), such as largedata."""
    memory: Annotated[str | None, Field(pattern=r"^[0-9]+[KMGT]?$")] = None
    """Memory of each node for a job (sbatch --mem), such as 480G; 0 takes all of it; null leaves it to the site."""
    gpus_per_node: int = Field(0, ge=0)
    """GPUs of one node; 0 trains on the CPU."""
    gpu: str | None = None
    """Name of the GPUs as docs/cost.md lists them, such as A100-SXM4-40GB: measured rates are known for some."""
    gpu_memory_gb: float | None = Field(None, gt=0)
    """Memory of one GPU in GB (1e9 bytes), which estimates are held against; null for unknown."""
    gpu_request: Literal["gres", "gpus_per_node", "none"] = "gres"
    """How a job asks for GPUs: --gres=gpu:N, --gpus-per-node=N, or not at all, where whole nodes come with theirs."""
    cores_per_node: int | None = Field(None, ge=1)
    """Cores of one node, which tasks are held against; null for unknown."""
    cpus_per_task: int = Field(1, ge=1)
    """Cores of one training process; their number is also the number of CPU threads it uses."""
    whole_nodes: bool = True
    """Whether a job gets, and pays for, whole nodes; runs that want less than a node then share one."""
    time_limit_minutes: int | None = Field(None, ge=1)
    """Wall time of one job; required for slurm, null for none on this machine."""
    signal_seconds: int = Field(300, ge=1)
    """How long before the time limit a job is told to write a checkpoint and queue itself again."""
    exclude_nodes: list[Word] = Field(default_factory=list)
    """Nodes that jobs must not get, such as jwb0026 or jwb[0101-0104]."""
    modules: list[Word] = Field(default_factory=list)
    """Environment modules that a job loads, in this order (module load)."""
    setup: list[str] = Field(default_factory=list)
    """Shell lines that run in the job after that, such as `source /p/project/x/env/bin/activate` (slurm only)."""
    environment: Annotated[dict[str, str], BeforeValidator(_check_environment)] = Field(default_factory=dict)
    """Environment variables of the job."""
    offline: bool = False
    """Whether compute nodes have no route to the internet: hubs are read from their caches then, W&B writes files."""
    hub_cache: str | None = None
    """Folder of the Hugging Face hub's cache (HF_HOME) that jobs see; null leaves it where it is."""
    scratch: str | None = None
    """Folder of a node for files that need not outlive a job (TMPDIR); null leaves it to the site."""
    shared_paths: list[str] = Field(default_factory=list)
    """Folders that every node sees, such as /p/scratch/myproject: sweeps must lie below one of them; empty for not
    known."""
    start: Literal["srun", "torchrun"] = "srun"
    """srun: one Slurm task per training process; torchrun: one per node, which starts the node's processes."""
    srun_options: list[Option] = Field(default_factory=list)
    """Further options of srun, such as --cpu-bind=none."""
    sbatch_options: list[Option] = Field(default_factory=list)
    """Further options of sbatch, such as --hint=nomultithread."""
    submit_from_jobs: bool = True
    """Whether a job may call sbatch: one that ends then submits what is due next, and nobody needs to watch."""
    limits: Limits = Limits()
    """What the site allows."""
    parallel_jobs: int | None = Field(None, ge=1)
    """local: how many jobs run at once; null takes what the cores, or the GPUs where there are any, allow."""
    peak_tflops: float = Field(gt=0)
    """Peak TFLOP/s of one GPU in bf16 without sparsity; of one core in fp32 where there are no GPUs."""
    efficiency: float = Field(gt=0, le=1)
    """Share of the peak that training is expected to reach; prices a plan."""
    host_suffix: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]*$")] = ""
    """Appended to the first node's name to reach it over the fast network; `i` on JSC's machines."""
    network_interfaces: list[Word] = Field(default_factory=list)
    """Interfaces that gloo and NCCL use between nodes, such as ib0; empty leaves the choice to them."""

    @model_validator(mode="after")
    def _kind_fits(self) -> Self:
        if self.kind == "slurm":
            self._check_slurm()
            return self
        for key in sorted(_ONLY_SLURM & self.model_fields_set):
            if getattr(self, key) not in (None, "", [], False):
                raise ValueError(f"{key} belongs to kind slurm")
        return self

    def _check_slurm(self) -> None:
        if self.time_limit_minutes is None:
            raise ValueError("kind slurm needs time_limit_minutes, such as 360")
        if self.parallel_jobs is not None:
            raise ValueError("parallel_jobs belongs to kind local; on slurm the queue decides")
        if self.signal_seconds >= 60 * self.time_limit_minutes:
            raise ValueError(
                f"signal_seconds {self.signal_seconds} leaves no time to train in {self.time_limit_minutes} minutes"
            )
        tasks = max(1, self.gpus_per_node)
        if self.cores_per_node is not None and tasks * self.cpus_per_task > self.cores_per_node:
            raise ValueError(
                f"{tasks} tasks of cpus_per_task {self.cpus_per_task} do not fit into cores_per_node "
                f"{self.cores_per_node}"
            )

    @property
    def slots(self) -> int:
        """local: how many single-process jobs this machine runs at once."""
        if self.parallel_jobs is not None:
            return self.parallel_jobs
        return self.gpus_per_node or max(1, available_cores() // self.cpus_per_task)


_ONLY_SLURM = {
    "account", "partition", "qos", "reservation", "constraint", "memory", "gpu_request", "exclude_nodes", "modules",
    "setup", "host_suffix", "shared_paths", "start", "srun_options", "sbatch_options", "submit_from_jobs", "limits",
}  # fmt: skip


def available_cores() -> int:
    """Cores this process may use: fewer than the machine's in a container or a job."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_cluster(
    name: str | Path, overrides: list[str] | None = None, *, source: str = "command line"
) -> ClusterConfig:
    """A cluster by the name of its file in slurm/, or by path. Raises ConfigError."""
    path = find_file("slurm", name, source=source, key="cluster")
    return validate(ClusterConfig, apply_overrides(read_mapping(path), overrides or []), str(path))
