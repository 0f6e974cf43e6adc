"""launch/sweep.json: a sweep as it was launched, complete, so that every later command needs its folder alone."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import Field

from mammut_clip.config.base import nearest
from mammut_clip.config.cluster import ClusterConfig
from mammut_clip.config.errors import InputError
from mammut_clip.config.sweep import SweepEvaluation, SweepPolicy
from mammut_clip.runs.layout import RunDir, SweepDir
from mammut_clip.runs.records import Record


class StoredRun(Record):
    """What the launcher has to know of a run without reading its config."""

    id: str
    """Name of the run: its folder."""
    config_sha256: str
    """Digest of its config (sweep.prepare.config_digest), so that the next launch need not read it."""
    model: str
    """The model's name."""
    family: str
    """clip, mammut, ..."""
    gpus: int
    """GPUs, one process each; 0 trains in one process on the CPU."""
    seconds: float
    """Predicted wall time."""
    total_samples: int
    """The clock at its end."""
    steps: int
    """Optimiser steps."""
    dropped: bool = False
    """Whether the grid has it no more: it is not started again, and nothing of it is removed."""

    @property
    def processes(self) -> int:
        return max(1, self.gpus)


class StoredSweep(Record):
    """A launched sweep."""

    format: int = 1
    """Version of this file."""
    name: str
    """Name of the sweep."""
    source: str
    """The sweep file and overrides that it was launched from last, for people."""
    cluster: ClusterConfig
    """Where it runs."""
    policy: SweepPolicy = SweepPolicy()
    """What follows an end."""
    evaluation: SweepEvaluation | None = None
    """How checkpoints are evaluated; its suite and data_root are names, or absolute paths (config.suites)."""
    evaluation_tasks: list[str] = Field(default_factory=list)
    """Names of the suite's tasks: a checkpoint is evaluated when each has its result."""
    laws: list[str] = Field(default_factory=list)
    """Law specs that follow the results."""
    runs_per_job: int | None = None
    """As in the sweep file."""
    directory: str = ""
    """Working directory of the launch, in which jobs begin: paths of data are relative to it."""
    trainer: tuple[str, ...] = ("-m", "mammut_clip.train")
    """Arguments of Python that start the trainer; the run directory follows."""
    runs: list[StoredRun]
    """In the grid's order."""


@dataclass(frozen=True)
class Launched:
    """A sweep's folder with what was launched in it."""

    folder: SweepDir
    stored: StoredSweep

    @classmethod
    def at(cls, folder: Path) -> "Launched":
        """Raises InputError where no sweep was launched in the folder."""
        sweep = SweepDir(folder.resolve())
        stored = StoredSweep.read(stored_file(sweep))
        if stored is None:
            raise InputError(
                f"{folder}: no launched sweep here ({stored_file(sweep).name} is not in its launch folder)"
            )
        return cls(sweep, stored)

    @cached_property
    def entries(self) -> dict[str, StoredRun]:
        """The sweep's runs by id."""
        return {run.id: run for run in self.stored.runs}

    def run(self, run_id: str) -> RunDir:
        return self.folder.run(run_id)


def stored_file(sweep: SweepDir) -> Path:
    """Where it stands."""
    return sweep.launch_folder / "sweep.json"


def find_sweep(name: str | Path, runs_root: Path) -> Path:
    """The folder of a sweep: a path, or the name of a folder below `runs_root`; where both are there, one that was
    launched.

    Raises InputError, with the nearest names, where there is none.
    """
    folders = [folder for folder in (Path(name), runs_root / name) if folder.is_dir()]
    if folders:
        return next((folder for folder in folders if stored_file(SweepDir(folder)).is_file()), folders[0])
    there = runs_root.iterdir() if runs_root.is_dir() else ()
    known = [path.name for path in there if path.is_dir() and not path.name.startswith(".")]
    hint = nearest(str(name), known) if known else f"{runs_root} holds no sweep"
    raise InputError(f"{name}: neither a folder nor a sweep in {runs_root}; {hint}")


class Control(Record):
    """launch/control.json: what the user wants of jobs that run now; their supervisors look at it."""

    paused: bool = False
    """Jobs end in good order instead of going on, and none is submitted."""
    cancelled: list[str] = Field(default_factory=list)
    """Ids of runs that end in good order and are not started again; the rest of their jobs goes on."""

    @classmethod
    def of(cls, sweep: SweepDir) -> "Control":
        """What holds now."""
        return cls.read(control_file(sweep)) or cls()


def control_file(sweep: SweepDir) -> Path:
    """Where it stands."""
    return sweep.launch_folder / "control.json"


def is_paused(sweep: SweepDir) -> bool:
    """Whether the user paused the sweep."""
    return Control.of(sweep).paused
