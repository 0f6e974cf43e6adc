"""Weights that can be evaluated, and where their results stand."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mammut_clip.runs.layout import RunDir


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


def run_point(run: RunDir, samples_seen: int) -> Point:
    """A run's weights after `samples_seen`, with or without a checkpoint there."""
    digest = hashlib.sha256(run.config_file.read_bytes()).hexdigest()[:16]
    return Point(
        model=run.config.model.name,
        pretrained=str(run.checkpoint(samples_seen).path),
        identity=f"{digest}@{samples_seen}",
        folder=run.eval_file(samples_seen, "").parent,
        samples_seen=samples_seen,
    )


def file_identity(path: Path) -> str:
    """SHA-256 of a file of weights."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
