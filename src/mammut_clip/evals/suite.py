"""A suite, opened: its datasets found and checked before any model is built."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mammut_clip.config.base import nearest
from mammut_clip.config.errors import InputError
from mammut_clip.config.evals import SuiteConfig, TaskConfig
from mammut_clip.config.files import find_file
from mammut_clip.config.load import load_config
from mammut_clip.data.evalset import EvalSet
from mammut_clip.evals.tasks import Task, open_task


@dataclass(frozen=True)
class OpenTask:
    """A task with its entry in the suite."""

    config: TaskConfig
    task: Task


def load_suite(name: str, *, source: str = "command line", key: str = "suite") -> SuiteConfig:
    """The suite of a name in evals/, or in a file."""
    return load_config(SuiteConfig, find_file("evals", name, source=source, key=key))


def open_suite(suite: SuiteConfig, data_root: Path | None = None, only: Sequence[str] = ()) -> list[OpenTask]:
    """Open every dataset of the suite (or of the tasks in `only`). Raises InputError where one is not there."""
    root = data_root or suite.data_root
    known = [task.name for task in suite.tasks]
    for name in only:
        if name not in known:
            raise InputError(f"suite {suite.name} has no task {name}; {nearest(name, known)}")
    wanted = [task for task in suite.tasks if not only or task.name in only]
    return [OpenTask(task, open_task(task, EvalSet.open(root / task.folder, task.split))) for task in wanted]
