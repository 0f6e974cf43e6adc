"""Sweep -> plan: every run with its size, its compute in both conventions, what it is predicted to cost
(cost/price.py), the memory of its GPUs and the disk of its checkpoints; checked whole (checks.py) before anything
starts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mammut_clip.config.cluster import ClusterConfig, load_cluster, split_overrides
from mammut_clip.config.errors import ConfigError
from mammut_clip.config.files import find_file
from mammut_clip.config.quantity import format_quantity
from mammut_clip.config.run import RunConfig
from mammut_clip.config.sweep import SweepConfig, load_sweep
from mammut_clip.cost.points import Checkpoints, checkpoints_of
from mammut_clip.cost.price import Price, price
from mammut_clip.cost.rates import is_known
from mammut_clip.cost.warnings import warnings_of
from mammut_clip.sweep.checks import gpus_of, problems_of
from mammut_clip.sweep.findings import Findings
from mammut_clip.sweep.grid import Cell, cells
from mammut_clip.sweep.problems import of_the_sweep
from mammut_clip.sweep.sizes import Sizes
from mammut_clip.sweep.wall_time import wall_seconds

Group = Literal["family", "model", "samples_seen"]


@dataclass(frozen=True)
class PlannedRun(Price):
    """One run and its cost."""

    id: str
    config: RunConfig
    params: int
    """Parameters of the model."""
    gflops_paper: float
    """GFLOPs of the whole run in the paper's convention: forward, without attention products."""
    gflops_exact: float
    """GFLOPs of the whole run as executed, forward and backward."""
    steps: int
    mode: str | None
    """How the trainer will spread the parameters; None where that hangs on a memory that is not known."""
    memory_gb: float | None
    """Of a step in one process; None where `mode` is, and for a model with a tower of another package."""
    checkpoints: Checkpoints
    warnings: tuple[str, ...]
    """What may surprise."""

    @property
    def family(self) -> str:
        return self.config.model.architecture.family

    def to_json_dict(self) -> dict[str, Any]:
        """The run's row of `sweep plan --json`. `gflops` is what is executed, as in `gflops_exact`."""
        return {
            "id": self.id,
            "model": self.config.model.name,
            "family": self.family,
            "samples_seen": self.config.samples_seen,
            "steps": self.steps,
            "global_batch_size": self.config.global_batch_size,
            "params": self.params,
            "gflops": self.gflops_exact,
            "gflops_paper": self.gflops_paper,
            "gflops_exact": self.gflops_exact,
            "gpus": self.gpus,
            "mode": self.mode,
            "memory_gb": self.memory_gb,
            "samples_per_second": self.samples_per_second,
            "seconds": self.seconds,
            "gpu_hours": self.gpu_hours,
            "core_hours": self.core_hours,
            "price_basis": self.basis,
            "checkpoints": {
                "written": self.checkpoints.written,
                "kept": self.checkpoints.kept,
                "bytes_each": self.checkpoints.bytes_each,
                "bytes_kept": self.checkpoints.bytes_kept,
            },
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Totals:
    """Sums over some of the runs."""

    runs: int
    samples_seen: int
    gpu_hours: float
    core_hours: float
    gflops: float
    gflops_paper: float
    gflops_exact: float
    checkpoints_written: int
    checkpoints_kept: int
    checkpoint_bytes: int
    """Disk that those that are kept take."""

    @classmethod
    def of(cls, runs: Iterable[PlannedRun]) -> "Totals":
        chosen = list(runs)
        exact = sum(run.gflops_exact for run in chosen)
        return cls(
            runs=len(chosen),
            samples_seen=sum(run.config.total_samples for run in chosen),
            gpu_hours=sum(run.gpu_hours for run in chosen),
            core_hours=sum(run.core_hours for run in chosen),
            gflops=exact,
            gflops_paper=sum(run.gflops_paper for run in chosen),
            gflops_exact=exact,
            checkpoints_written=sum(run.checkpoints.written for run in chosen),
            checkpoints_kept=sum(run.checkpoints.kept for run in chosen),
            checkpoint_bytes=sum(run.checkpoints.bytes_kept for run in chosen),
        )


@dataclass(frozen=True)
class Plan:
    """A sweep that has been checked whole and priced; nothing has been written yet."""

    config: SweepConfig
    """The sweep as it was read."""
    source: str
    """Its file and overrides, for people."""
    cluster: ClusterConfig
    runs: list[PlannedRun]
    left_out: tuple[PlannedRun, ...] = ()
    """Runs of the grid that a budget leaves out (budget.py)."""

    @property
    def sweep(self) -> str:
        """The sweep's name."""
        return self.config.name

    @property
    def totals(self) -> Totals:
        return Totals.of(self.runs)

    @property
    def wall_seconds(self) -> float:
        """Predicted wall time of the whole sweep, where no job waits for others (wall_time.py)."""
        return wall_seconds(self.runs, self.cluster)

    def totals_by(self, what: Group) -> dict[str, Totals]:
        """Totals per `family`, `model` or `samples_seen` (as `1.28M`), in order of first appearance."""
        groups: dict[str, list[PlannedRun]] = {}
        for run in self.runs:
            groups.setdefault(_group_of(run, what), []).append(run)
        return {name: Totals.of(runs) for name, runs in groups.items()}

    @property
    def warnings(self) -> dict[str, list[str]]:
        """What may surprise -> the runs that it is about; none for what is about the whole plan."""
        found: dict[str, list[str]] = {warning: [] for warning in _cluster_warnings(self.cluster)}
        for run in self.runs:
            for warning in run.warnings:
                found.setdefault(warning, []).append(run.id)
        return found

    def to_json_dict(self) -> dict[str, Any]:
        """What `sweep plan --json` prints."""
        return {
            "sweep": self.sweep,
            "runs": [run.to_json_dict() for run in self.runs],
            "totals": asdict(self.totals) | {"wall_seconds": self.wall_seconds},
            "families": {name: asdict(totals) for name, totals in self.totals_by("family").items()},
            "models": {name: asdict(totals) for name, totals in self.totals_by("model").items()},
            "samples_seen": {name: asdict(totals) for name, totals in self.totals_by("samples_seen").items()},
            "left_out": [run.id for run in self.left_out],
            "warnings": [{"warning": text, "runs": len(runs)} for text, runs in self.warnings.items()],
        }


def load_plan(name: str | Path, overrides: list[str] | None = None) -> Plan:
    """The plan of a sweep by the name of its file in sweeps/, or by path, on the cluster that it names.

    Overrides are `key=value` in the sweep's file, and `cluster.key=value` in the cluster's. Raises ConfigError.
    """
    of_sweep, of_cluster = split_overrides(overrides or [])
    config = load_sweep(name, of_sweep)
    source = str(find_file("sweeps", name)) + (f" with {' '.join(overrides)}" if overrides else "")
    try:
        cluster = load_cluster(config.cluster, of_cluster, source=source)
    except ConfigError as error:
        cells(config, source, beside=of_the_sweep(error, source, "cluster"))  # which says it with what the grid has
        raise
    return make_plan(config, cluster, source)


def make_plan(config: SweepConfig, cluster: ClusterConfig, source: str | None = None) -> Plan:
    """Expand, price and check a sweep; `source` names its file in messages.

    Raises ConfigError with everything that would keep runs from running on the cluster.
    """
    source = source or f"sweep {config.name}"
    findings, sizes = Findings(source), Sizes(cluster)
    runs = []
    for cell in cells(config, source):
        try:
            run = _plan_run(cell, gpus_of(cell, cluster, source), cluster, sizes, source)
        except ConfigError as error:
            findings.add(cell.id, error.problems)
        else:
            findings.add(cell.id, problems_of(run.config, run, run.checkpoints, sizes))
            runs.append(run)
    findings.raise_if_any()
    return Plan(config, source, cluster, runs)


def _plan_run(cell: Cell, gpus: int, cluster: ClusterConfig, sizes: Sizes, source: str) -> PlannedRun:
    config = cell.config
    config.check_world_size(max(1, gpus), source)
    model, spreads = sizes.model(config.model.architecture), sizes.spreads(config, gpus)
    only = spreads[0] if len(spreads) == 1 else None
    cost, checkpoints = price(config, gpus, cluster), checkpoints_of(config, model.params)
    return PlannedRun(
        **vars(cost),
        id=cell.id,
        config=config,
        params=model.params,
        gflops_paper=model.gflops.paper * cost.samples,
        gflops_exact=model.gflops.exact_step * cost.samples,
        steps=cost.samples // config.global_batch_size,
        mode=None if only is None else only.mode,
        memory_gb=None if only is None or only.memory is None else only.memory.total,
        checkpoints=checkpoints,
        warnings=warnings_of(config, gpus, cluster, spreads, checkpoints, cost),
    )


def _group_of(run: PlannedRun, what: Group) -> str:
    if what == "samples_seen":
        return format_quantity(run.config.samples_seen)
    return run.family if what == "family" else run.config.model.name


def _cluster_warnings(cluster: ClusterConfig) -> Iterator[str]:
    if cluster.gpu is not None and not is_known(cluster.gpu):
        yield (
            f"the cluster's gpu {cluster.gpu} is none whose rates are known (docs/cost.md); prices are those of its "
            "peak_tflops and efficiency"
        )
