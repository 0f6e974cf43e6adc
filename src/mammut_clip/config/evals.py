"""Evaluation suites: which zero-shot tasks, where their data are. The schema of evals/*.yaml."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mammut_clip.config.base import Config
from mammut_clip.config.run import SafeName


class TaskConfig(Config):
    """One zero-shot task on one dataset in CLIP_benchmark's layout."""

    name: SafeName
    """Name of the task; its result is evals/<samples>/<name>.json."""
    kind: Literal["classification", "retrieval"]
    """Zero-shot classification (acc1, acc5, mean_per_class_recall) or retrieval (recall at 1, 5, 10 both ways)."""
    folder: str
    """Folder of the dataset, relative to the suite's data_root."""
    split: str = "test"
    """Which split of it."""
    batch_size: int = Field(256, ge=1)
    """Pictures per forward pass, over all processes."""


class SuiteConfig(Config):
    """A named list of tasks."""

    name: SafeName
    """Name of the suite."""
    data_root: Path = Path()
    """Folder that holds the datasets; a run's evaluation.data_root or --data-root replaces it."""
    tasks: list[TaskConfig] = Field(min_length=1)
    """What is measured."""

    @model_validator(mode="after")
    def _unique(self) -> "SuiteConfig":
        names = [task.name for task in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two tasks have the same name: {', '.join(twice)}")
        return self
