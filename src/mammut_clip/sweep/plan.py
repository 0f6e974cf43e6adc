"""Sweep -> plan: every run with its size, its compute in both conventions, and what it is predicted to cost (see
cost/price.py)."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mammut_clip.config.cluster import ClusterConfig, load_cluster
from mammut_clip.config.errors import ConfigError, Problem
from mammut_clip.config.files import find_file
from mammut_clip.config.model import ModelConfig
from mammut_clip.config.run import RunConfig
from mammut_clip.config.sweep import SweepConfig, load_sweep
from mammut_clip.cost import Gflops, gflops_per_sample, parameters
from mammut_clip.cost.price import Price, check_gpus, price, usual_gpus
from mammut_clip.sweep.grid import Cell, cells


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

    def to_json_dict(self) -> dict[str, Any]:
        """The run's row of `sweep plan --json`. `gflops` is what is executed, as in `gflops_exact`."""
        return {
            "id": self.id,
            "model": self.config.model.name,
            "family": self.config.model.architecture.family,
            "samples_seen": self.config.samples_seen,
            "steps": self.steps,
            "global_batch_size": self.config.global_batch_size,
            "params": self.params,
            "gflops": self.gflops_exact,
            "gflops_paper": self.gflops_paper,
            "gflops_exact": self.gflops_exact,
            "gpus": self.gpus,
            "seconds": self.seconds,
            "gpu_hours": self.gpu_hours,
            "core_hours": self.core_hours,
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

    @property
    def sweep(self) -> str:
        """The sweep's name."""
        return self.config.name

    @property
    def totals(self) -> Totals:
        return Totals.of(self.runs)

    def totals_by(self, what: str) -> dict[str, Totals]:
        """Totals per `family` or per `model`, in order of first appearance."""
        groups: dict[str, list[PlannedRun]] = {}
        for run in self.runs:
            model = run.config.model
            groups.setdefault({"family": model.architecture.family, "model": model.name}[what], []).append(run)
        return {name: Totals.of(runs) for name, runs in groups.items()}

    def to_json_dict(self) -> dict[str, Any]:
        """What `sweep plan --json` prints."""
        return {
            "sweep": self.sweep,
            "runs": [run.to_json_dict() for run in self.runs],
            "totals": asdict(self.totals),
            "families": {name: asdict(totals) for name, totals in self.totals_by("family").items()},
            "models": {name: asdict(totals) for name, totals in self.totals_by("model").items()},
        }


def load_plan(name: str | Path, overrides: list[str] | None = None) -> Plan:
    """The plan of a sweep by the name of its file in sweeps/, or by path, on the cluster that it names.

    Overrides are `key=value` in the sweep's file. Raises ConfigError.
    """
    config = load_sweep(name, overrides)
    source = str(find_file("sweeps", name)) + (f" with {' '.join(overrides)}" if overrides else "")
    return make_plan(config, load_cluster(config.cluster, source=source), source)


def make_plan(config: SweepConfig, cluster: ClusterConfig, source: str | None = None) -> Plan:
    """Expand and price a sweep; `source` names its file in messages.

    Raises ConfigError for a grid that cannot run on the cluster.
    """
    source = source or f"sweep {config.name}"
    problems: list[Problem] = []
    runs = []
    for cell in cells(config, source):
        try:
            runs.append(_price(cell, _gpus(cell, cluster, source), cluster, source))
        except ConfigError as error:
            problems += [Problem(p.key, f"{p.expected} (run {cell.id})", p.value) for p in error.problems]
    if problems:
        raise ConfigError(source, problems[:20])
    return Plan(config, source, cluster, runs)


def _gpus(cell: Cell, cluster: ClusterConfig, source: str) -> int:
    """GPUs of a run on a cluster; 0 where the cluster has none, whatever the sweep asks for."""
    if cluster.gpus_per_node == 0:
        return 0
    wanted = cell.gpus or usual_gpus(cluster)
    check_gpus(wanted, cluster, source)
    return wanted


def _price(cell: Cell, gpus: int, cluster: ClusterConfig, source: str) -> PlannedRun:
    config = cell.config
    config.check_world_size(max(1, gpus), source)
    params, gflops = _model_cost(config.model.architecture)
    exact = gflops.exact_step * config.total_samples
    return PlannedRun(
        **asdict(price(exact, gpus, cluster)),
        id=cell.id,
        config=config,
        params=params,
        gflops_paper=gflops.paper * config.total_samples,
        gflops_exact=exact,
        steps=config.steps,
    )


@cache
def _model_cost(model: ModelConfig) -> tuple[int, Gflops]:
    return parameters(model).total, gflops_per_sample(model)
