"""The files by which the probe says what it saw: one of each rank, one of each start of its batch script."""

from pathlib import Path

from pydantic import Field

from mammut_clip.runs.records import Record


class FolderReport(Record):
    """A folder as one node sees it."""

    path: str
    free_gb: float | None = None
    """Space left, in GB (1e9 bytes)."""
    error: str | None = None
    """Why nothing can be written there."""
    unseen: list[str] = Field(default_factory=list)
    """Nodes whose file did not appear here."""
    seen_after: float = 0.0
    """Seconds until the last of the other nodes' files could be read."""


class RankReport(Record):
    """<folder>/rank-<n>.json: what a rank saw, written anew after each stage."""

    stage: str
    """begun, meeting, measuring, ready (waits for a signal), signalled."""
    rank: int
    world_size: int
    local_rank: int
    node: str
    """Slurm's name of its node."""
    host: str
    began: float
    """Unix time when Python ran."""
    error: str | None = None
    """What ended it."""
    cores: int = 0
    """Cores that it may use."""
    threads: str | None = None
    """OMP_NUM_THREADS."""
    device: str = "cpu"
    visible_gpus: str | None = None
    """CUDA_VISIBLE_DEVICES."""
    gpus: list[str] = Field(default_factory=list)
    """The GPUs that it sees."""
    gpu_id: str | None = None
    """Which one it takes, unique on the machine."""
    master: str = ""
    """MASTER_ADDR:MASTER_PORT."""
    master_ip: str = ""
    """What the name resolves to."""
    interfaces: dict[str, str] = Field(default_factory=dict)
    """This node's interfaces and their IPv4 addresses."""
    talked_over: dict[str, int] = Field(default_factory=dict)
    """Interface -> connections of this process to other nodes."""
    sum_right: bool | None = None
    """Whether the sum over all ranks was right."""
    bandwidth: dict[str, dict[int, float]] = Field(default_factory=dict)
    """Backend -> bytes -> GB/s that all_reduce moved over each rank's link."""
    clock_offset: float | None = None
    """Seconds that this node's clock is ahead of rank 0's; the first rank of each node measures it."""
    clock_error: float = 0.0
    """How far off that may be."""
    folders: list[FolderReport] = Field(default_factory=list)
    """The first rank of each node looks at them."""
    signals: dict[str, float] = Field(default_factory=dict)
    """Name of a signal -> Unix time of its arrival."""


class BatchReport(Record):
    """<folder>/batch-<restart>.json: one start of the probe's batch script."""

    job: str
    restart: int
    host: str
    nodes: str
    began: float
    signals: dict[str, float] = Field(default_factory=dict)
    """Name of a signal -> Unix time of its arrival."""
    step_exit: int | None = None
    """Exit code of the srun that ran the ranks."""
    requeue: str | None = None
    """What `scontrol requeue` said; empty where it was content."""


def rank_file(folder: Path, rank: int) -> Path:
    return folder / f"rank-{rank}.json"


def batch_file(folder: Path, restart: int) -> Path:
    return folder / f"batch-{restart}.json"
