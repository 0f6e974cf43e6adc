"""What every task offers. A task is one module of evals/tasks: a class with `collect` and `score`, the config of its
entries in a suite, and `KIND`, which brings both together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from mammut_clip.config.evals import TaskConfig
from mammut_clip.evals.subject import Subject

Collected = TypeVar("Collected")
Metrics = dict[str, float]


class Task(Protocol[Collected]):
    """One measurement on one dataset, which has been opened and checked."""

    @property
    def benchmark_name(self) -> str:
        """The task in results; CLIP_benchmark's name where it has one."""
        ...

    @property
    def metric(self) -> str:
        """The metric that it is known by."""
        ...

    def __len__(self) -> int:
        """Samples that are measured."""
        ...

    def unfit(self, subject: Subject) -> str | None:
        """Why the model cannot do this, as in `compares features, and a cap model has none`; None where it can."""
        ...

    def definition(self) -> dict[str, Any]:
        """What decides the result beside the weights, the pictures and the config's own keys: class names, prompts.
        Plain values that JSON holds."""
        ...

    def collect(self, subject: Subject) -> Collected:
        """Run the model. Collective: the ranks share the work, what is collected stands on rank 0."""
        ...

    def score(self, collected: Collected, device: torch.device) -> Metrics:
        """Metrics of what was collected, without the model; called on rank 0 alone."""
        ...


@dataclass(frozen=True)
class Kind:
    """A kind of task."""

    config: type[TaskConfig]
    """Schema of its entries, whose `kind` is a Literal."""
    open: Callable[[Any, Path], Task[Any]]
    """(config, folder of the dataset) -> the task. Raises InputError where the dataset is not there or not so."""
