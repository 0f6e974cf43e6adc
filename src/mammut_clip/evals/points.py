"""Weights that can be evaluated, and where their results stand."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mammut_clip.runs.layout import Checkpoint, RunDir


@dataclass(frozen=True)
class Point:
    """One set of weights of a model."""

    model: str
    """The model's name, for records."""
    pretrained: str
    """The weights' name, for records and messages."""
    identity: str
    """What tells these weights from all others."""
    folder: Path
    """Where its results stand, <task>.json each."""
    samples_seen: int | None = None
    """What they were trained on; None for weights from elsewhere."""

    def result_file(self, task: str) -> Path:
        """Where the result of a task stands."""
        return self.folder / f"{task}.json"


@dataclass(frozen=True)
class RunPoints:
    """The points of a run's clock, with or without a checkpoint there."""

    run: RunDir

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.run.config_file.read_bytes()).hexdigest()[:16]

    def at(self, samples_seen: int) -> Point:
        """The run's weights after `samples_seen`."""
        run = self.run
        return Point(
            model=run.config.model.name,
            pretrained=str(run.checkpoint(samples_seen).path),
            identity=f"{self._digest}@{samples_seen}",
            folder=run.eval_file(samples_seen, "").parent,
            samples_seen=samples_seen,
        )

    def of(self, checkpoint: Checkpoint) -> Point:
        """The weights of a checkpoint."""
        return self.at(checkpoint.samples_seen)


def file_identity(path: Path) -> str:
    """SHA-256 of a file of weights."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
