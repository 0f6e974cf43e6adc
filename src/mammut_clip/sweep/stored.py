"""launch/sweep.json: a sweep as it was launched, complete, so that every later command needs its folder alone."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

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
    """Digest of its config.yaml as it was written."""
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
    """How checkpoints are evaluated beside the training."""
    laws: list[str] = Field(default_factory=list)
    """Law specs that follow the results."""
    runs_per_job: int | None = None
    """As in the sweep file."""
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

    def run(self, run_id: str) -> RunDir:
        return self.folder.run(run_id)


def stored_file(sweep: SweepDir) -> Path:
    """Where it stands."""
    return sweep.launch_folder / "sweep.json"
