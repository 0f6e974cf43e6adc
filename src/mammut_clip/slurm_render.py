"""What a run would be on Slurm: the batch script of its job and the command that starts its ranks there."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mammut_clip.config.cluster import ClusterConfig, load_cluster, split_overrides
from mammut_clip.config.errors import InputError
from mammut_clip.config.run import RunConfig
from mammut_clip.config.sweep import SweepPolicy
from mammut_clip.cost.price import check_gpus, usual_gpus
from mammut_clip.runs.layout import RunDir, SweepDir
from mammut_clip.slurm.steps import ranks_per_node, room, step_command
from mammut_clip.slurm.submit import render, why_not
from mammut_clip.slurm.task import JobRequest, Shape, Task
from mammut_clip.sweep.stored import Launched, stored_file


@dataclass(frozen=True)
class Room:
    """What was asked for on the command line; None for what the run or the cluster says."""

    cluster: str | None = None
    gpus: int | None = None
    nodes: int | None = None


@dataclass(frozen=True)
class Rendered:
    """A job that has not been submitted."""

    script: str
    """As sbatch would get it."""
    shape: Shape
    step: list[str]
    """The srun that its supervisor starts for the run."""
    notes: list[str]
    """Why it would not be submitted as it is."""

    def to_json_dict(self) -> dict[str, Any]:
        shape = asdict(self.shape) | {"at_once": self.shape.at_once}
        return {"script": self.script, **shape, "step": self.step, "notes": self.notes}


def render_run(target: str, overrides: Sequence[str], asked: Room, runs_root: Path) -> Rendered:
    """The job of a run directory, a config file or a recipe. Nothing is written.

    Overrides that begin with `cluster.` change the cluster's file. A run of a launched sweep is on that sweep's cluster
    and has its GPUs unless others are asked for. Raises InputError where no cluster is known or cannot run it.
    """
    from mammut_clip.train.__main__ import resolve

    of_run, of_cluster = split_overrides(overrides)
    config = resolve(target, of_run)
    sweep = SweepDir((runs_root / config.sweep).resolve())
    if RunDir(Path(target)).config_file.is_file():
        sweep = SweepDir(Path(target).resolve().parent)
    launched = Launched.at(sweep.path) if stored_file(sweep).is_file() else None
    cluster = _cluster(asked, launched, of_cluster, target)
    processes = max(1, _gpus(asked, launched, cluster, config, target))
    config.check_world_size(processes, target)
    run = sweep.path / config.name
    task = Task(config.name, "train", str(run), ("-m", "mammut_clip.train", str(run)), processes, 0.0)
    shape = room(cluster, processes)
    policy = SweepPolicy() if launched is None else launched.stored.policy
    script = render(
        cluster, [JobRequest(shape, (task,))], sweep_dir=sweep.path, number=_next_number(sweep), policy=policy
    )
    step = step_command(cluster, shape, task, run / "logs" / "attempt-1", {})
    return Rendered(script, shape, step, why_not(cluster, sweep.path))


def _cluster(asked: Room, launched: Launched | None, overrides: list[str], target: str) -> ClusterConfig:
    if asked.cluster is not None:
        return load_cluster(asked.cluster, overrides)
    if launched is None:
        raise InputError(f"{target}: of no launched sweep, so nobody knows where it would run: add --cluster NAME")
    if overrides:
        raise InputError(f"{' '.join(overrides)}: overrides of a cluster's file need --cluster NAME")
    return launched.stored.cluster


def _gpus(asked: Room, launched: Launched | None, cluster: ClusterConfig, config: RunConfig, target: str) -> int:
    """GPUs of the run; without any on the cluster, its processes."""
    if asked.gpus is not None and asked.nodes is not None:
        raise InputError(f"--gpus {asked.gpus} and --nodes {asked.nodes} say the same: give one of them")
    if asked.nodes is not None:
        return asked.nodes * ranks_per_node(cluster)
    stored = [] if launched is None else [run.gpus for run in launched.stored.runs if run.id == config.name]
    wanted = asked.gpus if asked.gpus is not None else next(iter(stored), usual_gpus(cluster))
    if cluster.gpus_per_node:
        check_gpus(wanted, cluster, target)
    return wanted


def _next_number(sweep: SweepDir) -> int:
    """The number of the sweep's next submission."""
    folders = (sweep.launch_folder / "jobs").glob("*")
    return 1 + max((int(folder.name) for folder in folders if folder.name.isdigit()), default=0)
