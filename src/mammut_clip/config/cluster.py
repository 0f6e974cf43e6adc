"""How a job starts on one cluster: the schema of slurm/*.yaml.

Every value is checked here and quoted where a shell will read it; `setup` alone is shell text, as it is meant to be.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from mammut_clip.config.base import Config
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.files import find_file, is_path
from mammut_clip.config.load import apply_overrides, named_with, read_mapping, validate

_PREFIX = "cluster."
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_OPTION = re.compile(r"^--[A-Za-z][A-Za-z0-9_-]*(=[A-Za-z0-9._@:/,%+\[\]=-]*)?$")
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


_KEY_OF_OPTION = {
    "account": "account", "partition": "partition", "qos": "qos", "reservation": "reservation", "mem": "memory",
    "constraint": "constraint", "exclude": "exclude_nodes", "time": "time_limit_minutes", "exclusive": "whole_nodes",
    "cpus-per-task": "cpus_per_task", "gres": "gpu_request", "gpus-per-node": "gpu_request",
    "signal": "signal_seconds", "exact": "whole_nodes",
}  # fmt: skip
_OPTIONS_OF_OURS = {
    "array", "output", "error", "open-mode", "requeue", "no-requeue", "job-name", "chdir", "wrap", "wait", "test-only",
    "parsable", "nodes", "ntasks", "ntasks-per-node", "kill-on-bad-exit", "multi-prog", "label", "pty",
}  # fmt: skip


def _check_option(value: Any) -> Any:
    """Options of srun and sbatch are one word each, which begins with two dashes: `--cpu-bind=none`."""
    if not isinstance(value, str):
        return value
    if not _OPTION.match(value):
        raise ValueError("expected one long option, such as --cpu-bind=none, without blanks or quotes")
    name = value.removeprefix("--").partition("=")[0]
    if name in _KEY_OF_OPTION:
        raise ValueError(f"this has a key of its own: {_KEY_OF_OPTION[name]}")
    if name in _OPTIONS_OF_OURS:
        raise ValueError("this is set for every job; another value would break how jobs start and are followed")
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
    needs_account: bool = False
    """Whether this site charges every job to an account, so that none is submitted without one."""
    partition: Word | None = None
    """Where jobs run (sbatch --partition)."""
    qos: Word | None = None
    """Quality of service (sbatch --qos)."""
    reservation: Word | None = None
    """A reservation to run in (sbatch --reservation)."""
    constraint: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_.&|!*()\[\]-]+$")] = None
    """Features that nodes must have (sbatch --constraint), such as largedata."""
    memory: Annotated[str | None, Field(pattern=r"^[0-9]+[KMGT]?$")] = None
    """Memory of each node for a job (sbatch --mem), such as 480G; 0 takes all of it; null leaves it to the site. A job
    that takes part of a node asks for its share."""
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
    """Whether a job gets, and pays for, whole nodes (sbatch --exclusive); runs that want less then share one."""
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
    """Folder of every node for files that need not outlive a job (TMPDIR), which must be there; null leaves it to the
    site."""
    shared_paths: list[str] = Field(default_factory=list)
    """Folders that every node sees, such as /p/scratch/myproject: sweeps must lie below one of them; empty for not
    known."""
    start: Literal["srun", "torchrun"] = "srun"
    """srun: one Slurm task per training process; torchrun: one per node, which starts the node's processes."""
    srun_options: list[Option] = Field(default_factory=list)
    """Further long options of srun, such as --cpu-bind=none."""
    sbatch_options: list[Option] = Field(default_factory=list)
    """Further long options of sbatch, such as --hint=nomultithread."""
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
            # A stored cluster has every key, with the default where nobody set it.
            if getattr(self, key) != ClusterConfig.model_fields[key].get_default(call_default_factory=True):
                raise ValueError(f"{key} belongs to kind slurm")
        return self

    def _check_slurm(self) -> None:
        if self.time_limit_minutes is None:
            raise ValueError("kind slurm needs time_limit_minutes, such as 360")
        if self.parallel_jobs is not None:
            raise ValueError("parallel_jobs belongs to kind local; on slurm the queue decides")
        if self.signal_seconds >= 60 * self.time_limit_minutes:
            raise ValueError(
                f"signal_seconds {self.signal_seconds} leaves no time to train in time_limit_minutes "
                f"{self.time_limit_minutes}"
            )
        if self.memory is not None and not int(re.sub(r"\D", "", self.memory)) and not self.whole_nodes:
            raise ValueError("memory 0 takes all of a node, which jobs that share nodes cannot have: name an amount")
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
    "account", "needs_account", "partition", "qos", "reservation", "constraint", "memory", "gpu_request",
    "exclude_nodes", "modules", "setup", "host_suffix", "shared_paths", "start", "srun_options", "sbatch_options",
    "submit_from_jobs", "limits",
}  # fmt: skip


def available_cores() -> int:
    """Cores this process may use: fewer than the machine's in a container or a job."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_cluster(
    name: str | Path, overrides: list[str] | None = None, *, source: str = "command line"
) -> ClusterConfig:
    """A cluster by the name of its file in slurm/, or by path. Raises ConfigError.

    A file may build on another: `extends: juwels-booster` takes all of that, and what stands beside it wins; mappings
    such as environment are merged, lists replaced.
    """
    path = find_file("slurm", name, source=source, key="cluster")
    values = apply_overrides(_read(path, ()), overrides or [])
    return validate(ClusterConfig, values, named_with(path, overrides))


def _read(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    """The mapping in a cluster's file with those that it extends; `below`: the files that led here."""
    values = read_mapping(path)
    if "extends" not in values:
        return values
    base = values.pop("extends")
    if not isinstance(base, str):
        raise ConfigError(str(path), [Problem("extends", "expected a name in slurm/ or a path", base)])
    beside = path.parent / base  # a path is taken from the file's own folder
    found = find_file("slurm", beside if is_path(Path(base)) else base, source=str(path), key="extends")
    if found.resolve() in below or found.resolve() == path.resolve():
        raise ConfigError(str(path), [Problem("extends", "these files extend each other in a circle", base)])
    return _merged(_read(found, (*below, path.resolve())), values)


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        before = merged.get(key)
        merged[key] = before | value if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def split_overrides(overrides: Iterable[str]) -> tuple[list[str], list[str]]:
    """Overrides of something that runs on a cluster, and those of the cluster's file: `cluster.account=x` is
    `account=x` there."""
    given = list(overrides)
    own = [override.removeprefix(_PREFIX) for override in given if override.startswith(_PREFIX)]
    return [override for override in given if not override.startswith(_PREFIX)], own
